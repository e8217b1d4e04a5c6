//! The HTTPS API: Alibaba's protocol on the wire, one gate behind it.
//!
//! [`listener`] believes nothing before limits are kept; [`wire`] turns bytes
//! into a [`wire::Call`]; [`gate`] is the one way in: it authenticates,
//! decides, records and answers; [`actions`] has one file an action, and the
//! table of them; [`describe`] says what they are, for checks and readers.

pub mod actions;
pub mod describe;
mod error;
pub mod gate;
pub mod listener;
mod transport;
pub mod wire;

pub use error::{AccessDeniedDetail, ApiError};
