//! The key worker: the process that loads the vendor's module.
//!
//! It is started by the appliance with one end of a socket pair as its
//! standard input, learns there which token to open, logs in once and forgets
//! the PIN. From then on a reader (the main thread) fills a bounded queue,
//! session threads `hsm-0`, `hsm-1`, ... empty it, and a writer sends the
//! replies. When the socket closes the process ends.
//!
//! Nothing is repaired here that a new process repairs better: when the login,
//! the library or the device is lost, the worker says so and is replaced.

mod ceremony;
mod check;
mod examine;
mod faults;
mod gcm;
mod hardening;
mod lane;
mod module;
mod operations;
mod pin_marker;
mod queue;
mod replies;
mod template;
mod token;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::buffer::{Fields, Inbox, WipingBuffer};
use crate::error::HsmError;
use crate::protocol::{self, Malformed, OK, Opened, Opening, Verb};
use crate::secret::SecretBytes;

use lane::Lane;
use queue::{Job, Queue};
use replies::Replies;
use token::Token;

/// How long session threads may take to leave the module at the end.
const PARTING: Duration = Duration::from_secs(2);

/// Runs the key worker; the body of `strongroom hsm-worker`.
///
/// Standard input must be the socket that the appliance hands over. Arguments
/// are not looked at, and of the environment only what the module itself reads
/// (`SOFTHSM2_CONF`) matters. Returns when the socket is closed.
#[must_use]
pub fn worker_main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if standard error is closed too.
            drop(writeln!(io::stderr().lock(), "strongroom key worker: {error}"));
            ExitCode::from(2)
        }
    }
}

fn run() -> io::Result<()> {
    let socket = inherited_socket()?;
    hardening::harden()?;
    let replies = Replies::new();
    let writer = {
        let (replies, socket) = (Arc::clone(&replies), socket.try_clone()?);
        thread::Builder::new().name("hsm-replies".into()).spawn(move || replies.write_to(&socket))?
    };
    let outcome = converse(&socket, &replies);
    replies.finish();
    // A writer that panicked has ended the process already.
    drop(writer.join());
    outcome
}

/// The socket that the appliance gave us as standard input.
fn inherited_socket() -> io::Result<UnixStream> {
    let descriptor = io::stdin().as_fd().try_clone_to_owned()?;
    let file = File::from(descriptor);
    if !file.metadata()?.file_type().is_socket() {
        return Err(io::Error::other(
            "this program is started by the appliance, which hands it a socket as standard input; it does nothing when started by hand",
        ));
    }
    Ok(UnixStream::from(OwnedFd::from(file)))
}

fn converse(socket: &UnixStream, replies: &Arc<Replies>) -> io::Result<()> {
    let mut reader = Reader { socket, inbox: Inbox::new() };
    let Some(first) = reader.next_job()? else {
        return Ok(());
    };
    match first.verb {
        Verb::Open => serve(first, reader, replies),
        Verb::Initialize => {
            answer(replies, first.id, initialize(&first.body).and_then(|serial| protocol::to_json(&serial)));
            Ok(())
        }
        Verb::Wrap
        | Verb::Unwrap
        | Verb::Mac
        | Verb::Sign
        | Verb::PublicKey
        | Verb::Random
        | Verb::Generate
        | Verb::AddKey
        | Verb::Destroy
        | Verb::Introduce
        | Verb::Report => {
            replies.fail(first.id, &HsmError::protocol("no token is open yet"));
            Ok(())
        }
    }
}

fn answer(replies: &Replies, id: u64, outcome: Result<Vec<u8>, HsmError>) {
    match outcome {
        Ok(body) => {
            let mut frames = WipingBuffer::new();
            let start = frames.begin_frame(id, OK);
            frames.push(&body);
            frames.end_frame(start);
            replies.send(&mut frames);
        }
        Err(error) => replies.fail(id, &error),
    }
}

fn initialize(body: &[u8]) -> Result<String, HsmError> {
    let mut fields = Fields::new(body);
    let new = protocol::read_json(fields.sized()?)?;
    ceremony::initialize(&new, fields.sized()?, fields.sized()?)
}

/// Opens the token, starts the session threads and feeds them until the
/// appliance closes the socket.
fn serve(first: Job, mut reader: Reader<'_>, replies: &Arc<Replies>) -> io::Result<()> {
    let id = first.id;
    let opened = read_opening(&first.body).and_then(|(opening, pin)| {
        let token = Arc::new(Token::open(&opening, &pin)?);
        let lanes = open_lanes(&token, opening.sessions)?;
        Ok((opening, token, lanes))
    });
    let (opening, token, lanes) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            replies.fail(id, &error);
            return Ok(());
        }
    };
    // Wipes the PIN: whoever replaces this worker has it.
    drop(first);
    let queue = Arc::new(Queue::new(opening.queue, lanes.len()));
    let deadline = Duration::from_millis(opening.call_deadline_millis);
    let greeting = Opened {
        serial: token.serial.clone(),
        sessions: u16::try_from(lanes.len()).unwrap_or(u16::MAX),
        iv_mode: token.iv_mode,
    };
    let threads = lanes
        .into_iter()
        .enumerate()
        .map(|(number, lane)| {
            let (queue, replies) = (Arc::clone(&queue), Arc::clone(replies));
            thread::Builder::new()
                .name(format!("hsm-{number}"))
                .spawn(move || operations::serve(lane, &queue, &replies, deadline))
        })
        .collect::<io::Result<Vec<_>>>()?;
    answer(replies, id, protocol::to_json(&greeting));
    // The rest is for the session threads and the socket; the configuration
    // with its key names is not needed any more.
    drop(opening);
    let outcome = loop {
        match reader.next_job() {
            Ok(Some(job)) => {
                if let Err(job) = queue.put(job) {
                    let what = "the worker's queue is full".to_owned();
                    replies.fail(job.id, &HsmError::Busy { operation: job.verb.deed().into(), what });
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    queue.close();
    part(threads, token);
    outcome
}

fn read_opening(body: &[u8]) -> Result<(Opening, SecretBytes), HsmError> {
    let mut fields = Fields::new(body);
    let opening = protocol::read_json(fields.sized()?)?;
    Ok((opening, SecretBytes::copy_of(fields.sized()?)))
}

/// One lane a session; fewer if the token has no more to give.
fn open_lanes(token: &Arc<Token>, sessions: u16) -> Result<Vec<Lane>, HsmError> {
    let mut lanes = Vec::new();
    for _ in 0..sessions.max(1) {
        match token.session(false) {
            Ok(session) => lanes.push(Lane::new(Arc::clone(token), session)),
            Err(error) if faults::class(&error) == faults::Class::Exhausted && !lanes.is_empty() => {
                break;
            }
            Err(error) => return Err(faults::token_error("open a session", &token.label, &error)),
        }
    }
    Ok(lanes)
}

/// Ends the library in order if every thread has left it; otherwise ends the
/// process without another word, since finalising under a running call crashes
/// modules and waiting for a hung one never ends.
fn part(threads: Vec<JoinHandle<()>>, token: Arc<Token>) {
    let limit = Instant::now() + PARTING;
    while threads.iter().any(|thread| !thread.is_finished()) {
        if Instant::now() > limit {
            hardening::vanish();
        }
        thread::sleep(Duration::from_millis(5));
    }
    for thread in threads {
        // A session thread that panicked has ended the process already.
        drop(thread.join());
    }
    if let Some(token) = Arc::into_inner(token) {
        token.close();
    }
}

/// Reads calls off the socket.
struct Reader<'a> {
    socket: &'a UnixStream,
    inbox: Inbox,
}

impl Reader<'_> {
    /// The next call, or `None` when the appliance has closed the socket.
    fn next_job(&mut self) -> io::Result<Option<Job>> {
        let broken = |malformed: Malformed| io::Error::new(io::ErrorKind::InvalidData, malformed.to_string());
        loop {
            if let Some(frame) = self.inbox.next().map_err(broken)? {
                return Ok(Some(Job {
                    id: frame.id,
                    verb: Verb::try_from(frame.tag).map_err(broken)?,
                    body: Zeroizing::new(frame.body.to_vec()),
                    received: Instant::now(),
                }));
            }
            match (&mut &*self.socket).read(self.inbox.space()) {
                Ok(0) => return Ok(None),
                Ok(count) => self.inbox.filled(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The appliance died with replies unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}
