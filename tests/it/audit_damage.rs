//! Damage of every kind: where it is found, and what the start does about it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use strongroom::audit::{
    self, AuditError, Fault, Journal, Opened, Outcome, Rotation, RotationPhase, RotationTrigger,
    VerifyOptions,
};

use super::{
    broken, event, filled, frames, fresh, length, numbered, reframed, replace, segments, settings,
    small_segments, verified, verified_against,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_last_record_is_kept_aside_and_cut_wherever_it_was_torn() {
    let (_folder, directory, _) = filled(3, &settings()).await;
    let path = segments(&directory).remove(0);
    let whole = frames(&path);
    let good = length(&whole[..2]);
    for kept in [1, 3, 4, 5, 40, 200, whole[2].len() - 5, whole[2].len() - 1] {
        fs::write(&path, [&whole[..2].concat(), &whole[2][..kept]].concat()).unwrap();
        assert_eq!(verified(&directory).outcome, broken(&path, good, 3, Fault::IncompleteFrame));
        let Opened { journal, recovered, head, .. } = Journal::open(&directory, &settings()).unwrap();
        let recovered = recovered.unwrap();
        assert_eq!((recovered.offset, recovered.bytes), (good as u64, kept as u64));
        assert_eq!(fs::read(&recovered.kept_as).unwrap(), whole[2][..kept]);
        assert_eq!((head.seq, fs::metadata(&path).unwrap().len()), (2, good as u64));
        assert_eq!(journal.append(numbered(0)).await.unwrap().seq(), 3);
        journal.close().await;
        assert_eq!(verified(&directory).outcome, Outcome::Intact);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_first_record_of_a_segment_is_recovered_too() {
    let (_folder, directory, _) = filled(30, &small_segments()).await;
    let path = segments(&directory).pop().unwrap();
    let frames = frames(&path);
    fs::write(&path, &frames[0][..100]).unwrap();
    let opened = Journal::open(&directory, &small_segments()).unwrap();
    assert_eq!(opened.recovered.unwrap().offset, 0);
    opened.journal.append(numbered(0)).await.unwrap();
    opened.journal.close().await;
    assert_eq!(verified(&directory).outcome, Outcome::Intact);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_no_interrupted_write_explains_stops_the_start() {
    let (_folder, directory, _) = filled(5, &settings()).await;
    let path = segments(&directory).remove(0);
    let whole = frames(&path);
    let starts: Vec<usize> = (0..5).map(|at| length(&whole[..at])).collect();
    // Byte 1 of a length makes the frame reach beyond the end of the file.
    for (frame, byte) in [(0, 1), (0, 20), (2, 0), (2, 1), (2, 3), (3, 100), (4, 0), (4, 50)] {
        let mut bytes = whole.concat();
        bytes[starts[frame] + byte] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let Err(AuditError::Damaged { offset, seq, .. }) = Journal::open(&directory, &settings()) else {
            panic!("frame {frame} byte {byte} went unnoticed");
        };
        assert_eq!((offset, seq), (starts[frame] as u64, frame as u64 + 1));
        assert_eq!(fs::read(&path).unwrap(), bytes, "nothing was cut");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flipped_bit_is_found_at_its_record() {
    let (_folder, directory, _) = filled(4, &settings()).await;
    let path = segments(&directory).remove(0);
    let whole = frames(&path);
    let bytes = whole.concat();
    let mut checked = 0;
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&path, &flipped).unwrap();
        let frame = (0..4).rfind(|n| length(&whole[..*n]) <= at).unwrap();
        // The other verifier takes a process; the chosen bytes lie in every part of a frame.
        let report = if at % 97 == 0 {
            verified(&directory)
        } else {
            audit::verify(&directory, &VerifyOptions::default())
        };
        let Outcome::Broken { offset, seq, .. } = report.outcome else {
            panic!("byte {at} went unnoticed");
        };
        assert_eq!((offset, seq), (length(&whole[..frame]) as u64, frame as u64 + 1));
        checked += 1;
    }
    assert_eq!(checked, bytes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_reordering_and_duplication_are_found_at_their_record() {
    let (_folder, directory, head) = filled(6, &settings()).await;
    let path = segments(&directory).remove(0);
    let whole = frames(&path);
    let change = |edit: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut frames = whole.clone();
        edit(&mut frames);
        replace(&path, &frames);
        verified(&directory).outcome
    };
    let at = |frame: usize, why| broken(&path, length(&whole[..frame]), frame as u64 + 1, why);

    assert_eq!(change(&|frames| drop(frames.remove(0))), at(0, Fault::Sequence));
    assert_eq!(change(&|frames| drop(frames.remove(3))), at(3, Fault::Sequence));
    assert_eq!(change(&|frames| frames.swap(1, 2)), at(1, Fault::Sequence));
    assert_eq!(change(&|frames| frames.insert(3, frames[2].clone())), at(3, Fault::Sequence));
    assert_eq!(change(&|frames| frames.push(frames[5].clone())), at(6, Fault::Sequence));
    assert_eq!(change(&|frames| frames[2].truncate(30)), at(2, Fault::Checksum));

    replace(&path, &whole[..4]);
    assert_eq!(verified(&directory).outcome, Outcome::Intact, "no trace without an anchor");
    assert_eq!(verified_against(&directory, Some(head)).outcome, at(4, Fault::CutOff));
    replace(&path, &whole);
    assert_eq!(verified_against(&directory, Some(head)).outcome, Outcome::Intact);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_rewritten_with_a_good_checksum_breaks_the_chain() {
    let (_folder, directory, head) = filled(4, &settings()).await;
    let path = segments(&directory).remove(0);
    let whole = frames(&path);
    let rewrite = |at: usize, from: &str, to: &str| {
        let body = std::str::from_utf8(&whole[at][4..whole[at].len() - 4]).unwrap();
        assert!(body.contains(from));
        let mut frames = whole.clone();
        frames[at] = reframed(body.replace(from, to).as_bytes());
        replace(&path, &frames);
        length(&frames[..at + 1])
    };
    let next = rewrite(1, "secret-1", "secret-9");
    assert_eq!(verified(&directory).outcome, broken(&path, next, 3, Fault::Chain));
    rewrite(3, "secret-3", "secret-9");
    assert_eq!(verified(&directory).outcome, Outcome::Intact, "the last one has no successor");
    assert_eq!(
        verified_against(&directory, Some(head)).outcome,
        broken(&path, length(&whole[..3]), 4, Fault::Anchor)
    );
    rewrite(2, "\"v\":1", "\"v\":2");
    assert_eq!(verified(&directory).outcome, broken(&path, length(&whole[..2]), 3, Fault::Form));
    rewrite(2, "\"event\":{", "\"event\":{,");
    assert_eq!(verified(&directory).outcome, broken(&path, length(&whole[..2]), 3, Fault::Form));
    fs::write(directory.join("origin"), "strongroom/other\n").unwrap();
    assert_eq!(verified(&directory).outcome, broken(&path, 0, 1, Fault::Chain));
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_renamed_and_copied_segments_are_found() {
    let (_folder, directory, _) = filled(60, &small_segments()).await;
    let paths = segments(&directory);
    assert!(paths.len() >= 5);
    let first = |at: usize| frames(&paths[at]).len() as u64;
    let starts: Vec<u64> = (0..paths.len()).map(|at| 1 + (0..at).map(first).sum::<u64>()).collect();
    let aside = directory.join("aside");

    fs::rename(&paths[2], &aside).unwrap();
    let report = verified(&directory);
    assert_eq!(report.outcome, Outcome::Incomplete);
    assert_eq!((report.missing[0].from, report.missing[0].to), (starts[2], starts[3] - 1));

    let wrong = directory.join(format!("audit-{:020}.log", starts[2] + 1));
    fs::rename(&aside, &wrong).unwrap();
    assert_eq!(verified(&directory).outcome, broken(&wrong, 0, starts[2] + 1, Fault::Sequence));
    fs::rename(&wrong, &paths[2]).unwrap();
    let copy = directory.join(format!("audit-{:020}.log", starts[2] + 1));
    fs::copy(&paths[2], &copy).unwrap();
    assert_eq!(verified(&directory).outcome, broken(&copy, 0, starts[3], Fault::SegmentName));
    fs::remove_file(&copy).unwrap();

    let frames = frames(&paths[1]);
    replace(&paths[1], &frames[..frames.len() - 1]);
    let report = verified(&directory);
    assert_eq!(report.outcome, Outcome::Incomplete, "a shortened segment leaves a gap");
    assert_eq!((report.missing[0].from, report.missing[0].to), (starts[2] - 1, starts[2] - 1));
    replace(&paths[1], &frames);
    assert_eq!(verified(&directory).outcome, Outcome::Intact);

    fs::remove_file(&paths[0]).unwrap();
    let report = verified(&directory);
    assert_eq!((report.outcome, report.first_seq), (Outcome::Incomplete, Some(starts[1])));
    for path in &paths[1..] {
        fs::remove_file(path).unwrap();
    }
    assert_eq!(verified(&directory).outcome.exit_code(), 3);
    assert!(matches!(Journal::open(&directory, &settings()), Err(AuditError::NotAJournal { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_without_outcome_is_counted() {
    let (_folder, directory) = fresh();
    let journal = Journal::open(&directory, &settings()).unwrap().journal;
    for (id, phase) in [
        ("a", RotationPhase::Started),
        ("b", RotationPhase::Started),
        ("c", RotationPhase::Started),
        ("a", RotationPhase::Stored),
        ("a", RotationPhase::Finished),
        ("b", RotationPhase::Failed),
    ] {
        let mut event = event();
        event.additional.correlation_id = Some(id);
        event.additional.rotation =
            Some(Rotation { task_id: id, trigger: RotationTrigger::Scheduled, attempt: 1, phase });
        let recorded = journal.append(event.encode().unwrap()).await.unwrap();
        assert!(recorded.seq() > 0);
    }
    let mut late = event();
    late.time_ms -= 3_600_000;
    journal.append(late.encode().unwrap()).await.unwrap();
    journal.close().await;
    let report = verified(&directory);
    assert_eq!((report.outcome, report.open_intents, report.clock_steps), (Outcome::Intact, 1, 1));
}

#[test]
fn zeros_of_sectors_never_written_are_cut_at_the_start() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (_folder, directory, _) = filled(2, &settings()).await;
        let path = segments(&directory).remove(0);
        let end = fs::metadata(&path).unwrap().len();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0; 4096], end).unwrap();
        let opened = Journal::open(&directory, &settings()).unwrap();
        assert_eq!(opened.recovered.unwrap().bytes, 4096);
        assert_eq!(opened.head.seq, 2);
    });
}
