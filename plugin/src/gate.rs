//! Which requests may still change something.

use crate::journal::{Journal, Phase};
use crate::report::Code;
use crate::request::Id;

/// What the journal says to a request that wants to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It may.
    Open,
    /// This rotation is over, and well: answer, and change nothing.
    Finished,
    /// It may not, and never will.
    Shut(Code),
}

/// Decides for `prepare` and `apply` (contract section 5.6).
///
/// A tombstone or a fence outlasts everything; after that the generation
/// rules, so that an `apply` which is delivered late, from a rotation that was
/// given up, finds the gate shut. All refusals are durable: what they rest on
/// only grows.
pub(crate) fn decide(journal: &Journal, generation: u64, rid: &Id) -> Gate {
    if generation <= journal.fence_generation || journal.tombstones.contains(rid) {
        return Gate::Shut(Code::Fenced);
    }
    match &journal.rotation {
        Some(last) if generation < last.generation => Gate::Shut(Code::StaleGen),
        Some(last) if generation == last.generation && *rid != last.rid => Gate::Shut(Code::WrongRid),
        Some(last) if *rid == last.rid && last.phase == Phase::Finalized => Gate::Finished,
        Some(_) | None => Gate::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tests::rotation;

    fn id(letter: &str) -> Id {
        Id::parse(&letter.repeat(32)).expect("an id")
    }

    #[test]
    fn the_gate_follows_the_table_of_the_contract() {
        let mut journal = Journal::empty("i-1");
        assert_eq!(decide(&journal, 1, &id("a")), Gate::Open);

        journal.rotation = Some(rotation(5, "a", Phase::Begun));
        for (generation, rid, gate) in [
            (4, "a", Gate::Shut(Code::StaleGen)),
            (4, "b", Gate::Shut(Code::StaleGen)),
            (5, "b", Gate::Shut(Code::WrongRid)),
            (5, "a", Gate::Open),
            (6, "b", Gate::Open),
        ] {
            assert_eq!(decide(&journal, generation, &id(rid)), gate, "{generation} {rid}");
        }

        journal.rotation = Some(rotation(5, "a", Phase::Finalized));
        assert_eq!(decide(&journal, 5, &id("a")), Gate::Finished);

        journal.fence_generation = 5;
        assert_eq!(decide(&journal, 5, &id("a")), Gate::Shut(Code::Fenced));
        assert_eq!(decide(&journal, 6, &id("b")), Gate::Open);

        journal.bury(&id("b"));
        assert_eq!(decide(&journal, 6, &id("b")), Gate::Shut(Code::Fenced));
        assert_eq!(decide(&journal, 7, &id("c")), Gate::Open);
    }
}
