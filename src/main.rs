//! The program `strongroom`: the appliance and its command line.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    strongroom::cli::main()
}
