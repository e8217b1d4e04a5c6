//! The program as the agent starts it, against sandboxes with tools that fail
//! on demand, and against the real tools in a mount namespace of its own.
//!
//! All tests need root: the program refuses to run without.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "all of this is test code, also what stands outside the test functions"
)]

mod crashes;
mod foreign;
mod keys;
mod lockout;
mod machine;
mod passwords;
mod real_tools;
mod sandbox;
mod sealing;
