//! The key worker as a program of its own.
//!
//! `strongroom hsm-worker` is the same code; this program serves the tests of
//! this package and installations that want the worker in a separate file.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    strongroom_hsm::worker_main()
}
