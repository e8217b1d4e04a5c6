//! The instance and its plug-in: what a run may come to, cut off after any of
//! its durable writes (cloud-assistant.md section 5.6). Written anew from the
//! contract, not from the plug-in's code.

use super::model::{FIRST, FOREIGN, Key, Kind, Mistake, Said, Set, Settings, candidate};
use crate::cloud_assistant::plugin::Op;
use crate::model::rotation::Live;

/// How far the plug-in's notes say that a rotation got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Applied,
    Begun,
    Finalized,
    Restored,
}

/// The plug-in's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Notes {
    rotation: u8,
    phase: Phase,
    before: Set,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Instance {
    /// What logs on.
    pub(super) live: Set,
    /// The key to seal to.
    pub(super) key: Option<Key>,
    notes: Option<Notes>,
    /// No rotation up to this one may act.
    fence: u8,
    /// The rotation that made a key, by the notes.
    prepared: u8,
}

/// What a run came to, and what it said if that was not lost.
pub(super) struct Run {
    pub(super) instance: Instance,
    pub(super) said: Option<Said>,
}

impl Instance {
    pub(super) const fn start() -> Self {
        Self { live: FIRST, key: None, notes: None, fence: 0, prepared: 0 }
    }

    pub(super) fn without_key(&self) -> Self {
        Self { key: None, ..self.clone() }
    }

    /// The disk with the plug-in's notes was replaced, and nothing else.
    pub(super) fn without_notes(&self) -> Self {
        Self { notes: None, fence: 0, prepared: 0, ..self.clone() }
    }

    /// Somebody else has set a credential of their own.
    pub(super) fn meddled_with(&self) -> Self {
        Self { live: FOREIGN, ..self.clone() }
    }

    fn own(&self, rotation: u8) -> Option<Notes> {
        self.notes.filter(|notes| notes.rotation == rotation)
    }

    /// What is in force, and whether that is proven. `opened`: the credential
    /// came along, so that it can be tried.
    fn observe(&self, kind: Kind, rotation: u8, opened: bool) -> (Live, bool) {
        let new = self.live & candidate(rotation) != 0;
        let own = self.own(rotation);
        let live = match kind {
            Kind::Windows if opened => match own.map(|notes| notes.phase) {
                _ if new => Live::New,
                Some(Phase::Applied | Phase::Finalized) => Live::Other,
                Some(Phase::Begun | Phase::Restored) | None => Live::Old,
            },
            Kind::Windows => match own.map(|notes| notes.phase) {
                Some(Phase::Applied | Phase::Finalized) => Live::New,
                Some(Phase::Begun) => Live::Unknown,
                Some(Phase::Restored) => Live::Old,
                None if self.prepared == rotation => Live::Old,
                None => Live::Unknown,
            },
            Kind::Key => {
                // The vault names the secret's earlier keys along with the question.
                let old = self.live & !candidate(rotation) & !FOREIGN != 0;
                match (new, old) {
                    (true, true) => Live::Both,
                    (true, false) => Live::New,
                    (false, true) => Live::Old,
                    (false, false) => Live::Other,
                }
            }
            Kind::Password | Kind::Chosen => match (own, self.notes) {
                _ if new && (kind == Kind::Password || own.is_some()) => Live::New,
                (Some(notes), _) if self.live & notes.before != 0 => Live::Old,
                (Some(_), _) => Live::Other,
                (None, Some(notes)) if self.live & candidate(notes.rotation) != 0 => Live::Old,
                (None, Some(_)) => Live::Other,
                (None, None) if kind == Kind::Password || self.prepared == rotation => Live::Old,
                (None, None) => Live::Unknown,
            },
        };
        let by_notes = kind == Kind::Windows && !opened;
        let proved = match kind {
            // The field is shown, whatever is made of it.
            Kind::Password | Kind::Chosen => new,
            Kind::Key | Kind::Windows => matches!(live, Live::New | Live::Both) && (new || by_notes),
        };
        (live, proved)
    }

    fn say(&self, settings: Settings, rotation: u8, opened: bool, ok: bool, is_final: bool) -> Said {
        let (live, proved) = self.observe(settings.kind, rotation, opened);
        let known = self.own(rotation).is_some();
        let restored = self.own(rotation).is_some_and(|notes| notes.phase == Phase::Restored);
        Said { ok, is_final, live, proved, shut: false, known, restored, key_gone: false, key: None }
    }

    /// All that one run may come to.
    pub(super) fn run(&self, settings: Settings, op: Op, rotation: u8, sealed_to: Option<Key>) -> Vec<Run> {
        let opened = sealed_to.is_some() && self.key == sealed_to;
        let mut runs = self.all_runs(settings, op, rotation, sealed_to, opened);
        if op.compares() && sealed_to.is_some() && !opened {
            // It says that it could not open what came along.
            runs.iter_mut().filter_map(|run| run.said.as_mut()).for_each(|said| said.key_gone = true);
        }
        runs
    }

    fn all_runs(
        &self,
        settings: Settings,
        op: Op,
        rotation: u8,
        sealed_to: Option<Key>,
        opened: bool,
    ) -> Vec<Run> {
        match op {
            Op::Prepare => self.prepare(settings, rotation),
            Op::Apply => self.apply(settings, rotation, sealed_to),
            Op::Status | Op::Verify => {
                let mut settled = self.clone();
                let (live, _) = self.observe(settings.kind, rotation, opened);
                if op == Op::Status
                    && let Some(notes) = settled.notes.as_mut()
                    && notes.rotation == rotation
                    && notes.phase == Phase::Begun
                {
                    match live {
                        Live::New | Live::Both => notes.phase = Phase::Applied,
                        Live::Old => notes.phase = Phase::Restored,
                        Live::Other | Live::Unknown => {}
                    }
                }
                vec![
                    told(&settled, settled.say(settings, rotation, opened, true, false)),
                    told(self, self.say(settings, rotation, opened, false, false)),
                ]
            }
            Op::Finalize => self.finalize(settings, rotation),
            Op::Fence => {
                let fenced = Self { fence: self.fence.max(rotation), ..self.clone() };
                let said = fenced.say(settings, rotation, opened, true, true);
                let busy = self.say(settings, rotation, opened, false, false);
                vec![told(&fenced, said), cut_off(&fenced), told(self, busy)]
            }
        }
    }

    /// Whether a command of a rotation can change nothing any more, ever: fence
    /// and notes only rise.
    pub(super) fn is_beyond(&self, op: Op, rotation: u8) -> bool {
        let later = self.notes.is_some_and(|notes| notes.rotation > rotation);
        match op {
            Op::Apply => rotation <= self.fence || later,
            Op::Fence => rotation <= self.fence,
            Op::Finalize => later,
            Op::Prepare | Op::Status | Op::Verify => true,
        }
    }

    fn is_shut(&self, settings: Settings, rotation: u8) -> bool {
        let later = self.notes.is_some_and(|notes| notes.rotation > rotation);
        settings.mistake != Mistake::GateForgets && (rotation <= self.fence || later)
    }

    /// Refused: for good, which is written down first, unless something of the
    /// rotation was begun and it can yet be found in force.
    fn refused(&self, settings: Settings, rotation: u8) -> Vec<Run> {
        if self.own(rotation).is_some() {
            return vec![told(self, self.say(settings, rotation, false, false, false))];
        }
        let buried = Self { fence: self.fence.max(rotation), ..self.clone() };
        let said = buried.say(settings, rotation, false, false, true);
        vec![cut_off(&buried), told(&buried, said)]
    }

    fn prepare(&self, settings: Settings, rotation: u8) -> Vec<Run> {
        let with_key = |ok| {
            let made = Self { key: Some(Key::Alive), prepared: rotation, ..self.clone() };
            let said = made.say(settings, rotation, false, ok, !ok);
            told(&made, Said { key: made.key, shut: !ok, ..said })
        };
        if self.is_shut(settings, rotation) {
            let said = self.say(settings, rotation, false, false, true);
            return match settings.kind {
                Kind::Windows => vec![with_key(false)],
                Kind::Password | Kind::Chosen | Kind::Key => {
                    vec![told(self, Said { shut: true, ..said })]
                }
            };
        }
        let mut runs = self.refused(settings, rotation);
        runs.push(told(self, self.say(settings, rotation, false, false, false)));
        runs.push(with_key(true));
        runs
    }

    fn apply(&self, settings: Settings, rotation: u8, sealed_to: Option<Key>) -> Vec<Run> {
        let kind = settings.kind;
        if self.is_shut(settings, rotation) {
            let said = self.say(settings, rotation, false, false, true);
            return vec![told(self, Said { shut: true, ..said })];
        }
        let own = self.own(rotation);
        if own.is_some_and(|notes| notes.phase == Phase::Finalized) {
            return vec![told(self, self.say(settings, rotation, false, true, false))];
        }
        if kind.is_sealed() && (sealed_to.is_none() || self.key != sealed_to) {
            let said = self.say(settings, rotation, false, false, false);
            return vec![told(self, Said { key_gone: true, ..said })];
        }
        let opened = kind == Kind::Windows;
        let mut runs = self.refused(settings, rotation);
        runs.push(told(self, self.say(settings, rotation, opened, false, false)));
        // It says so, and it is not so.
        let claim = self.say(settings, rotation, opened, true, false);
        runs.push(told(self, Said { live: Live::New, proved: false, ..claim }));

        let new = candidate(rotation);
        let before = own.map_or(self.live & !new, |notes| notes.before);
        let noted = |phase| Some(Notes { rotation, phase, before });
        let begun = Self { notes: noted(Phase::Begun), prepared: 0, ..self.clone() };
        runs.push(cut_off(&begun));
        // Nothing was set now; an earlier run, cut off, may have.
        let phase = if self.live & new == 0 { Phase::Restored } else { Phase::Applied };
        let unchanged = Self { notes: noted(phase), ..self.clone() };
        runs.push(told(&unchanged, unchanged.say(settings, rotation, opened, false, false)));
        let live = if kind == Kind::Key { self.live | new } else { new };
        let set = Self { live, ..begun };
        runs.push(cut_off(&set));
        let applied = Self { notes: noted(Phase::Applied), ..set };
        runs.push(cut_off(&applied));
        runs.push(told(&applied, applied.say(settings, rotation, opened, true, false)));
        runs
    }

    fn finalize(&self, settings: Settings, rotation: u8) -> Vec<Run> {
        let Some(notes) = self.own(rotation) else {
            let said = self.say(settings, rotation, false, false, true);
            return vec![told(self, Said { shut: true, ..said })];
        };
        let new = candidate(rotation);
        if settings.kind == Kind::Key && self.live & new == 0 {
            return vec![told(self, self.say(settings, rotation, false, false, false))];
        }
        let live = if settings.kind == Kind::Key { self.live & (new | FOREIGN) } else { self.live };
        let removed = Self { live, ..self.clone() };
        let notes = Some(Notes { phase: Phase::Finalized, ..notes });
        let over = Self { notes, key: None, ..removed.clone() };
        let said = over.say(settings, rotation, false, true, false);
        vec![cut_off(&removed), cut_off(&over), told(&over, said)]
    }
}

fn told(instance: &Instance, said: Said) -> Run {
    Run { instance: instance.clone(), said: Some(said) }
}

fn cut_off(instance: &Instance) -> Run {
    Run { instance: instance.clone(), said: None }
}
