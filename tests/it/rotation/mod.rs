//! Rotations from the API to a real host: a served vault, a Cloud Assistant
//! that delivers commands, the plug-in, and an sshd to log on to.
//!
//! All of it needs root, since the hosts are made of namespaces.

mod command;
#[cfg(feature = "crash-points")]
mod crash_points;
mod custom;
mod faults;
mod keys;
mod manual;
mod monitoring;
mod outages;
mod periodic;
mod refusals;
mod sealed;
mod service_role;
mod traces;
mod windows;
mod world;

pub(crate) use self::world::{Credential, plugin};
use self::world::{Kind, NAME, USER, World};
