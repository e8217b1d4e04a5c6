//! Bytes to calls, and answers to bytes.

mod answer;
mod call;

pub use answer::{Answer, Reply};
pub use call::{Call, Peer};
