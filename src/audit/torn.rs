//! Telling an interrupted write from tampering.
//!
//! A power failure or a killed process may leave the beginning of the last
//! batch behind. No answer was sent for any of its records, so the incomplete
//! one may be cut off. Everything else that is wrong is no accident of that
//! kind, and the journal must not start over it: a damaged length in the middle
//! of a segment, for example, also makes a frame reach beyond the end.

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
    let result = file
        .seek(SeekFrom::Start(offset))
        .and_then(|_at| file.take(MAX_TAIL_BYTES).read_to_end(&mut tail));
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
    if length == 0 || length > MAX_BODY_BYTES || kept >= length.saturating_add(FRAME_BYTES) {
        return false;
    }
    let mut start = BODY_START.to_vec();
    start.extend_from_slice(format!("{seq},").as_bytes());
    let body = body.get(..kept.saturating_sub(4)).unwrap_or_default();
    let begins = start
        .iter()
        .zip(body)
        .all(|(want, is)| want == is || *is == 0);
    let another = body
        .windows(BODY_START.len())
        .skip(1)
        .any(|window| window == BODY_START);
    begins && !another
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
        let mut copy = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&kept_as)?;
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
        let body = format!(
            "{{\"v\":1,\"seq\":{seq},\"rest\":\"{}\"}}",
            "x".repeat(2000)
        );
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
