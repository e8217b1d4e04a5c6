//! Many secrets on many instances: the crowd that is due at once, and campaigns.
//! The instances are doubles inside the emulator.

mod campaigns;
mod crowd;
pub(crate) mod site;
