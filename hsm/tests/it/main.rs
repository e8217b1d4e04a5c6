//! The key service against real SoftHSM tokens, each made in a temporary
//! folder, with the worker as a real process.

#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails, and helpers of tests belong to them"
)]

mod calls;
mod failures;
mod keys;
mod outside;
mod pin;
mod stand;
mod throughput;
