//! Telling an interrupted write from tampering.
//!
//! A power failure or a killed process may leave the beginning of the last
//! batch behind, and a power failure any of its sectors: those that were not
//! written read as zeros. No answer was sent for any of its records, so what
//! begins with the first incomplete one may be cut off. Everything else that is
//! wrong is no accident of that kind, and the journal must not start over it: a
//! damaged length in the middle of a segment, for example, also makes a frame
//! reach beyond the end.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::error::AuditError;
use super::record::{BODY_START, FRAME_BYTES, MAX_BODY_BYTES};

/// Storage keeps or loses data by whole sectors.
const SECTOR_BYTES: u64 = 512;

/// Most bytes that one interrupted batch can leave behind.
const MAX_TAIL_BYTES: u64 = 32 * 1024 * 1024;

/// What was found and cut off at the end of the journal. The caller records it
/// as the event `AuditTailRecovered`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailRecovered {
    /// The segment.
    pub segment: PathBuf,
    /// Its length after the cut, in bytes.
    pub offset: u64,
    /// How many bytes were cut off.
    pub bytes: u64,
    /// Where they are kept.
    pub kept_as: PathBuf,
}

/// The end of the file from `offset` on, if it is what an interrupted write of
/// record `seq` leaves behind.
pub(super) fn torn_tail(
    file: &mut File,
    path: &Path,
    offset: u64,
    seq: u64,
) -> Result<Option<Vec<u8>>, AuditError> {
    let read = AuditError::io("read", path);
    let mut tail = Vec::new();
    let result =
        file.seek(SeekFrom::Start(offset)).and_then(|_at| file.take(MAX_TAIL_BYTES).read_to_end(&mut tail));
    result.map_err(read)?;
    let whole = u64::try_from(tail.len()).is_ok_and(|bytes| bytes < MAX_TAIL_BYTES);
    Ok((whole && is_torn(&tail, offset, seq)).then_some(tail))
}

fn is_torn(tail: &[u8], offset: u64, seq: u64) -> bool {
    // A file system may have lengthened the file and not have written the
    // data: sectors of zeros at the end were never written.
    let written = match tail.iter().rposition(|byte| *byte != 0) {
        Some(last) => last.saturating_add(1),
        None => return true,
    };
    let end = offset.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
    let sector_end = end.next_multiple_of(SECTOR_BYTES).saturating_sub(offset);
    let kept = usize::try_from(sector_end).map_or(tail.len(), |bytes| bytes.min(tail.len()));

    let Some((length, body)) = tail.split_first_chunk::<4>() else {
        return true;
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > MAX_BODY_BYTES {
        return false;
    }
    let frame_bytes = length.saturating_add(FRAME_BYTES);
    let ends_early = length > 0 && kept < frame_bytes;
    let mut start = BODY_START.to_vec();
    start.extend_from_slice(format!("{seq},").as_bytes());
    let body = body.get(..kept.saturating_sub(4)).unwrap_or_default();
    let begins = start.iter().zip(body).all(|(want, is)| want == is || *is == 0);
    let another = body.windows(BODY_START.len()).skip(1).any(|window| window == BODY_START);
    begins && (ends_early && !another || lacks_sector(tail, offset, frame_bytes))
}

/// Whether a sector that belongs to the frame at the beginning of `tail` was
/// never written while later ones were.
///
/// The sector that the frame begins in may hold the end of an earlier batch,
/// and then is zero from the frame's beginning on only; that counts if it hides
/// the frame's length.
fn lacks_sector(tail: &[u8], offset: u64, frame_bytes: usize) -> bool {
    let sector = usize::try_from(SECTOR_BYTES).unwrap_or(usize::MAX);
    let to_next = offset.next_multiple_of(SECTOR_BYTES).saturating_sub(offset);
    let to_next = usize::try_from(to_next).unwrap_or(usize::MAX);
    let Some((begun, rest)) = tail.split_at_checked(to_next) else {
        return false;
    };
    let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    let touched = frame_bytes.saturating_sub(to_next).div_ceil(sector);
    (begun.len() >= size_of::<u32>() && is_zero(begun))
        || rest.chunks_exact(sector).take(touched).any(is_zero)
}

/// Keeps a copy of the tail beside the segment, then cuts the segment; both are
/// durable when this returns.
pub(super) fn cut(
    directory: &File,
    file: &File,
    path: &Path,
    offset: u64,
    tail: &[u8],
) -> Result<TailRecovered, AuditError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{offset}.torn"));
    let kept_as = PathBuf::from(name);
    // An attempt that was itself interrupted may have left a part of the copy.
    if kept_as.exists() {
        fs::remove_file(&kept_as).map_err(AuditError::io("remove", &kept_as))?;
    }
    let keep = || {
        let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&kept_as)?;
        copy.write_all(tail)?;
        copy.sync_all()?;
        directory.sync_all()
    };
    keep().map_err(AuditError::io("keep torn tail as", &kept_as))?;
    let shorten = || {
        file.set_len(offset)?;
        file.sync_all()
    };
    shorten().map_err(AuditError::io("cut", path))?;
    Ok(TailRecovered {
        segment: path.to_owned(),
        offset,
        bytes: u64::try_from(tail.len()).unwrap_or(u64::MAX),
        kept_as,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(seq: u64) -> Vec<u8> {
        let body = format!("{{\"v\":1,\"seq\":{seq},\"rest\":\"{}\"}}", "x".repeat(2000));
        let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        frame.extend_from_slice(body.as_bytes());
        frame.extend_from_slice(&[1, 2, 3, 4]);
        frame
    }

    #[test]
    fn every_beginning_of_a_frame_is_torn_and_the_whole_is_not() {
        let frame = frame(7);
        for kept in 1..frame.len() {
            assert!(is_torn(&frame[..kept], 1234, 7), "{kept}");
        }
        assert!(!is_torn(&frame, 1234, 7));
    }

    #[test]
    fn sectors_that_were_never_written_are_torn() {
        let mut tail = frame(7);
        let zeros = tail.len() - 600;
        tail[zeros..].fill(0);
        assert!(is_torn(&tail, 0, 7));
        assert!(is_torn(&[0; 4096], 1234, 7));
        let mut damaged = frame(7);
        let last = damaged.len() - 1;
        damaged[last] = 0;
        assert!(!is_torn(&damaged, 0, 7), "one zero byte is damage");
    }

    #[test]
    fn a_sector_that_was_lost_inside_the_last_batch_is_torn() {
        // Wherever the batch begins in a sector, and whichever sector is lost.
        for offset in [0, 512, 700, 1020, 1023] {
            let batch = [frame(7), frame(8), frame(9)].concat();
            let end = offset + batch.len();
            for sector in (offset / 512)..(end / 512) {
                let mut tail = batch.clone();
                let from = (sector * 512).max(offset) - offset;
                let to = (sector + 1) * 512 - offset;
                tail[from..to].fill(0);
                // What the scan finds is the first frame that the sector touches.
                let at = from / frame(7).len();
                let start = at * frame(7).len();
                let (place, seq) = (u64::try_from(offset + start).unwrap(), 7 + u64::try_from(at).unwrap());
                let unharmed = tail[start..start + frame(7).len()] == batch[start..start + frame(7).len()];
                assert!(unharmed || is_torn(&tail[start..], place, seq), "{offset} {sector}");
            }
        }
    }

    #[test]
    fn zeros_that_are_no_whole_sector_are_damage() {
        for (from, to) in [(0, 4), (100, 600), (513, 1024), (512, 1023), (1100, 2000)] {
            let mut tail = [frame(7), frame(8)].concat();
            tail[from..to].fill(0);
            assert!(!is_torn(&tail, 0, 7), "{from}..{to}");
        }
        let mut other = [frame(7), frame(8)].concat();
        let later = frame(7).len().next_multiple_of(512);
        other[later..later + 512].fill(0);
        other[1000] ^= 1;
        assert!(!is_torn(&other, 0, 7), "the lost sector is of another frame");
    }

    #[test]
    fn a_damaged_length_before_other_records_is_not_torn() {
        let mut tail = frame(7);
        tail.extend_from_slice(&frame(8));
        tail[1] |= 1;
        assert!(!is_torn(&tail, 0, 7));
        let mut last = frame(7);
        last[0] = 0xff;
        assert!(!is_torn(&last, 0, 7));
    }

    #[test]
    fn bytes_that_do_not_begin_this_record_are_not_torn() {
        assert!(!is_torn(&frame(8)[..100], 0, 7));
        assert!(!is_torn(b"\0\0\x04\0anything else", 0, 7));
    }
}
