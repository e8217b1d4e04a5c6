//! The part of Strongroom that runs on a Linux instance and changes one
//! credential there: a local password, or an SSH key of one user.
//!
//! Cloud Assistant starts it as root with one request, and it answers with one
//! line of JSON, the last of its output (`docs/contract/cloud-assistant.md`,
//! section 5). It judges by what it reads back from the system, never by what
//! a tool says of itself, and every step can be repeated after any crash.
//!
//! | module | its one job |
//! | --- | --- |
//! | `arguments`, `request`, `report` | the command line; what is asked; what is answered |
//! | `operation` | the six operations, alike for both kinds of credential |
//! | `credential`, `password`, `ssh_key` | what differs between the kinds |
//! | `gate`, `journal`, `note`, `locks` | which requests may still act; what was begun, and found; who acts now |
//! | `key_pair`, `sealed` | what is sealed to this machine for one rotation |
//! | `accounts`, `shadow_files`, `sshd`, `target` | what the system says of a user |
//! | `authorized_keys` | changing a file that somebody else controls the path of |
//! | `crypt`, `public_key`, `user_name` | grammars of what comes in |
//! | `host`, `tool`, `durable`, `clock`, `harden`, `crash` | the machine below |

#![forbid(unsafe_code)]

mod accounts;
mod arguments;
mod authorized_keys;
mod clock;
mod crash;
mod credential;
mod crypt;
mod durable;
mod gate;
mod harden;
mod host;
mod journal;
mod key_pair;
mod locks;
mod note;
mod operation;
mod password;
mod public_key;
mod report;
mod request;
mod sealed;
mod shadow_files;
mod ssh_key;
mod sshd;
mod target;
mod tool;
mod user_name;

use std::io::Write as _;
use std::process::ExitCode;

use crate::arguments::Command;

fn main() -> ExitCode {
    harden::apply();
    report::answer_a_panic();
    let words = std::env::args_os().skip(1);
    match arguments::parse(words) {
        Ok(Command::Help) => show(arguments::USAGE),
        Ok(Command::Version) => show(concat!("strongroom-rotator ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Run(run)) => report::send(&operation::answer(&run)),
        Err(problem) => report::send(&report::Report::unreadable(problem)),
    }
}

/// Writes plain text for a person to standard output.
fn show(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
