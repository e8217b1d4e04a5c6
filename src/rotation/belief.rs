//! What of a report is believed: the instance's word is weighed against its
//! proof, and against what it can have looked at.

use super::decide::Clocked;
use crate::cloud_assistant::plugin::{Code, Op, Report};
use crate::model::rotation::{Live, RotationRecord};
use crate::model::{OsFamily, SecretSubType};

/// A Windows password is known only where it was tried. What the plug-in says
/// by its notes alone, which may be lost, is not enough to destroy a candidate
/// that was sent, unless they say that it was tried then.
pub(super) fn untried(rotation: &RotationRecord, clocked: &Clocked, report: Report) -> Report {
    let restored = report.phase.as_ref().is_some_and(|phase| phase.as_str() == "restored");
    let by_notes = match report.op {
        Op::Status | Op::Verify | Op::Fence => !clocked.key_good || could_not_open(&report),
        // An earlier sending may have had an effect that the notes have lost.
        Op::Apply => report.is_final && rotation.attempt > 1,
        Op::Finalize | Op::Prepare => false,
    };
    let untried = rotation.os == OsFamily::Windows && by_notes && !restored;
    if untried && matches!(report.live, Live::Old | Live::Other) {
        return Report { live: Live::Unknown, ..report };
    }
    report
}

/// The instance did not have the key any more that the credential was sealed to.
pub(super) fn could_not_open(report: &Report) -> bool {
    let unopened = report.warnings.iter().any(|word| word.as_str() == "candidate_not_opened");
    unopened || matches!(report.code, Code::KeyExpired | Code::DecryptFailed)
}

/// What the vault itself sees in a proof goes before what the plug-in makes of
/// it: where its notes are lost, or the credential did not come along, it cannot
/// know whose hash it found. A locked field is neither in force nor gone.
pub(super) fn recognised(rotation: &RotationRecord, report: Report) -> Report {
    let is_field = rotation.kind == SecretSubType::Password && rotation.os == OsFamily::Linux;
    if !is_field || report.proof.field_sha256.is_none() {
        return report;
    }
    let plain = report.facts.user.state.as_ref().is_some_and(|state| state.as_str() == "hash");
    let live = if proves(rotation, &report) {
        Live::New
    } else if report.live == Live::Unknown && plain {
        Live::Other
    } else {
        report.live
    };
    Report { live, ..report }
}

/// Whether a check stopped the rotation before it began. The instance may be
/// unable to look then, as where the user is missing; but by its journal nothing
/// of this rotation was ever begun, so its candidate is not in force.
pub(super) fn never_began(rotation: &RotationRecord, report: &Report) -> bool {
    let shut = matches!(report.code, Code::Already | Code::Fenced | Code::StaleGen | Code::WrongRid);
    let damaged = report.warnings.iter().any(|word| word.as_str() == "journal_damaged");
    // A second sending is made only where the first may have had an effect.
    rotation.attempt <= 1 && report.phase.is_none() && !shut && !damaged
}

/// Whether a report proves that what it found is what the vault sent.
pub(super) fn proves(rotation: &RotationRecord, report: &Report) -> bool {
    let shown = match (rotation.kind, rotation.os) {
        (SecretSubType::Password, OsFamily::Linux) => report.proof.field_sha256.as_ref(),
        (SecretSubType::Password, OsFamily::Windows) => report.proof.token_sha256.as_ref(),
        (SecretSubType::SshKey, _) => report.proof.key_sha256.as_ref(),
    };
    shown.is_some_and(|shown| shown.as_str() == rotation.proof)
}
