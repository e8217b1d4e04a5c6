//! The sources of `strongroom::rpc` that do no I/O.

#[path = "../../../src/rpc/encoding.rs"]
pub mod encoding;
#[path = "../../../src/rpc/signature/mod.rs"]
pub mod signature;
#[path = "../../../src/rpc/timestamp.rs"]
pub mod timestamp;
