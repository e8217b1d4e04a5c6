//! A local password, changed by the system's own `chpasswd -e`.
//!
//! Only a crypt(5) hash ever comes here. With `-e` no PAM module is asked, so
//! neither quality rules nor a history can refuse it, and nothing is hashed
//! again.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::accounts::{self, Shadow};
use crate::clock;
use crate::crash;
use crate::credential::{Before, Credential, Failure, Known, Removal, Seen};
use crate::crypt::{Field, FieldState};
use crate::host::Host;
use crate::locks::Locks;
use crate::note::Note;
use crate::public_key::Fingerprint;
use crate::report::{Code, Live, Proof, Refusal};
use crate::request::Request;
use crate::shadow_files;
use crate::target::Target;
use crate::tool::{self, Ended};

/// How long `chpasswd` may take. It waits up to 15 seconds for the lock of the
/// password files by itself (lckpwdf(3)); two runs fit into the agent's limit.
const CHPASSWD_LIMIT: Duration = Duration::from_secs(18);

/// How long a name service cache may take to be told.
const NSCD_LIMIT: Duration = Duration::from_secs(2);

/// The password of one user.
#[derive(Debug)]
pub(crate) struct Password<'a> {
    host: &'a Host,
    request: &'a Request,
    target: &'a Target,
}

impl<'a> Password<'a> {
    /// The password of `target`.
    pub(crate) const fn new(host: &'a Host, request: &'a Request, target: &'a Target) -> Self {
        Self { host, request, target }
    }

    /// The user's shadow line as it is now.
    fn shadow(&self) -> Result<Shadow, Refusal> {
        match accounts::shadow(self.host, &self.request.user) {
            Ok(Some(shadow)) => Ok(shadow),
            Ok(None) => Err(Refusal::new(Code::NoShadowEntry, "the user has no line in /etc/shadow")),
            Err(_) => Err(Refusal::new(Code::Internal, "/etc/shadow cannot be read")),
        }
    }

    /// Has `chpasswd` set the field, and waits for it.
    fn chpasswd(&self, field: &Field, locks: &Locks) -> Result<Ended, Refusal> {
        let path = self
            .host
            .tool("chpasswd")
            .ok_or_else(|| Refusal::new(Code::ToolMissing, "chpasswd is not installed"))?;
        let user = self.request.user.as_str();
        let room = user.len() + field.expose().len() + 2;
        let mut line = Zeroizing::new(String::with_capacity(room));
        line.push_str(user);
        line.push(':');
        line.push_str(field.expose());
        line.push('\n');
        crash::point();
        let ended = tool::feed(&path, &["-e"], line.as_bytes(), CHPASSWD_LIMIT, locks)
            .ok()
            .ok_or_else(|| Refusal::new(Code::ToolFailed, "chpasswd could not be started"))?;
        crash::point();
        Ok(ended)
    }

    /// Why `chpasswd` changed nothing, judged by the system and not by words.
    fn why_unchanged(&self, ended: Ended) -> Refusal {
        if let Some(refusal) = shadow_files::obstacle(self.host) {
            return refusal;
        }
        let how = match ended {
            Ended::Exit(status) => format!("chpasswd ended with status {status}"),
            Ended::Signal => "chpasswd was ended by a signal".to_owned(),
            Ended::Late | Ended::Running => "chpasswd took too long".to_owned(),
        };
        Refusal::new(Code::ToolFailed, format!("{how} and changed nothing"))
    }

    /// Puts back what stood in the field before.
    fn restore(&self, prev: &Field, locks: &Locks) -> Failure {
        let tried = self.chpasswd(prev, locks);
        match (tried, self.shadow()) {
            (Ok(Ended::Running), _) => Failure::Undecided(Refusal::new(
                Code::RestoreFailed,
                "chpasswd does not end while it puts the former field back",
            )),
            (_, Ok(now)) if now.field == *prev => Failure::Restored(Refusal::new(
                Code::Restored,
                "chpasswd wrote another field; the former one was put back",
            )),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => Failure::RestoreFailed(Refusal::new(
                Code::RestoreFailed,
                "chpasswd wrote another field, and the former one could not be put back",
            )),
        }
    }

    /// Tells the cache of the name service, if one runs.
    fn refresh_caches(&self) {
        let runs = self.host.has("/run/nscd/socket") || self.host.has("/var/run/nscd/socket");
        if let Some(path) = self.host.tool("nscd").filter(|_| runs) {
            // A stale cache heals by itself; nothing depends on this.
            drop(tool::ask(&path, &["-i", "passwd"], NSCD_LIMIT, 0));
        }
    }
}

impl Credential for Password<'_> {
    fn check(&self, known: &Known, warn: &mut dyn FnMut(&'static str)) -> Result<(), Refusal> {
        self.target.check_open()?;
        if !self.target.account.shadowed {
            return Err(Refusal::new(
                Code::NoShadowEntry,
                "/etc/passwd does not send this user to /etc/shadow",
            ));
        }
        let shadow = self.shadow()?;
        match shadow.field.state() {
            FieldState::Hash => {}
            FieldState::Locked if self.request.choices.unlock => warn("account_unlocked"),
            FieldState::Locked => {
                return Err(Refusal::new(
                    Code::AccountLocked,
                    "the password is locked; chpasswd would unlock it",
                ));
            }
            FieldState::NoPassword | FieldState::Empty => warn("had_no_password"),
        }
        self.target.warn_of_ageing(self.request.choices.interval_days, warn);
        self.target.warn_of_failures(self.host, warn);
        if self.host.tool("chpasswd").is_none() {
            return Err(Refusal::new(Code::ToolMissing, "chpasswd is not installed"));
        }
        if known.new.as_ref() != Some(&shadow.field) {
            shadow_files::check_writable(self.host)?;
        }
        Ok(())
    }

    fn usable(&self, _known: &Known) -> Result<(), Refusal> {
        // The field itself says what opens the account.
        Ok(())
    }

    fn observe(&self, known: &Known) -> Result<Seen, Refusal> {
        let field = self.shadow()?.field;
        let new = known.new.as_ref() == Some(&field);
        let locked = |new: &Field| field.is_locked_form_of(new);
        if known.new.as_ref().is_some_and(locked) {
            // Neither in force nor gone: `usermod -U` puts it in force.
            return Ok(Seen { live: Live::Unknown, proof: Some(Proof::Field(field.sha256())) });
        }
        let live = match known.judge(new, known.old.contains(&field)) {
            // There is one field: the same password set again is the new one.
            Live::Both => Live::New,
            live @ (Live::New | Live::Old | Live::Other | Live::Unknown) => live,
        };
        Ok(Seen { live, proof: Some(Proof::Field(field.sha256())) })
    }

    fn missing(&self, left: &[Field]) -> Result<Option<Note>, Refusal> {
        let field = self.shadow()?.field;
        Ok((!left.is_empty() && !left.contains(&field)).then_some(Note::ChangedOutside))
    }

    fn has_surplus(&self, _known: &Known) -> bool {
        // There is one field.
        false
    }

    fn tidy(&self, _known: &Known) -> Removal {
        Removal::default()
    }

    fn remark(&self) -> Option<&'static str> {
        // chpasswd sets the day of the change anew, and with it this right.
        let shadow = self.shadow().ok()?;
        shadow.must_change(clock::unix_days()).then_some("password_still_expired")
    }

    fn before(&self, _new: &Field) -> Result<Before, Refusal> {
        Ok(Before { prev: Some(self.shadow()?.field), absent: false })
    }

    fn set(&self, new: &Field, prev: Option<&Field>, _known: &Known, locks: &Locks) -> Result<(), Failure> {
        let before = self.shadow().map_err(Failure::Unchanged)?.field;
        let ended = self.chpasswd(new, locks).map_err(Failure::Unchanged)?;
        let now = self.shadow().map_err(Failure::Undecided)?.field;
        if now == *new {
            self.refresh_caches();
            return Ok(());
        }
        if ended == Ended::Running {
            return Err(Failure::Undecided(Refusal::new(Code::ToolFailed, "chpasswd does not end")));
        }
        if now == before {
            return Err(Failure::Unchanged(self.why_unchanged(ended)));
        }
        if ended != Ended::Exit(0) {
            // A chpasswd that failed has written nothing, so it was a person,
            // whose password is not ours to take back.
            let refusal = Refusal::new(
                self.why_unchanged(ended).code,
                "somebody else changed the password at the same time",
            );
            return Err(Failure::Overtaken(refusal));
        }
        Err(self.restore(prev.unwrap_or(&before), locks))
    }

    fn remove(&self, _keys: &[Fingerprint], _known: &Known) -> Removal {
        // A password that was replaced is gone.
        Removal::default()
    }

    fn take_back(&self, _key: &Fingerprint) -> Removal {
        // One password stands for another: there is nothing to take away.
        Removal::default()
    }
}
