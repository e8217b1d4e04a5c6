//! Alibaba Cloud's RPC protocol, both sides of it: how parameters travel, how
//! a request is signed, and a client that sends signed requests.
//!
//! Everything but [`client`] is pure: it reads what was received and answers
//! without I/O, without a clock and without any secret of ours, except that
//! [`signature::Claim::verify`] takes the key it is to check against. What
//! these functions find is a claim; who made it is decided elsewhere.
//!
//! Query strings and bodies carry secrets (kms-secrets.md section 0, points 2
//! and 3), so decoded parameters lie in one buffer that is wiped on drop, and
//! no `Debug` output shows them.

pub mod client;
pub mod encoding;
pub mod signature;
pub mod timestamp;
