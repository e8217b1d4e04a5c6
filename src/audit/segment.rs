//! The segment files of a journal, written by one process.
//!
//! `audit-<first seq, 20 digits>.log` holds frames and nothing else. A segment
//! exists durably before its first record is written; one that is full is made
//! read-only. Space is reserved ahead without lengthening the file, so that the
//! end of the file is always the end of the records.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{Advice, FallocateFlags};
use rustix::io::Errno;

use super::error::AuditError;
use super::event::Encoded;
use super::frames::{Chain, Fault, Frames};
use super::record::{self, Hash, Head};
use super::torn::{self, TailRecovered};

const ORIGIN_FILE: &str = "origin";
const RESERVE_FILE: &str = "reserve";

/// Most bytes of the buffer that are kept from one batch to the next.
const KEPT_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Makes an empty journal in `directory`, which must not exist or be empty.
///
/// The origin names this journal for ever: one line of up to 200 printable
/// ASCII characters, for example `strongroom/vault-7f3a`. It should be unique,
/// since the first record's hash begins with it. Everything is durable when
/// this returns.
///
/// # Errors
///
/// [`AuditError::Origin`], [`AuditError::NotEmpty`], [`AuditError::Io`].
pub fn create(directory: &Path, origin: &str) -> Result<(), AuditError> {
    let printable = origin.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if origin.is_empty() || origin.len() > 200 || !printable || origin.trim() != origin {
        return Err(AuditError::Origin);
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(AuditError::io("create", directory))?;
    let mut entries = fs::read_dir(directory).map_err(AuditError::io("list", directory))?;
    if entries.next().is_some() {
        return Err(AuditError::NotEmpty(directory.to_owned()));
    }
    let handle = File::open(directory).map_err(AuditError::io("open", directory))?;
    new_segment(directory, &handle, 1, 0)?;
    let path = directory.join(ORIGIN_FILE);
    write_file(&path, format!("{origin}\n").as_bytes())
        .and_then(|()| handle.sync_all())
        .map_err(AuditError::io("write", &path))?;
    match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => {
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(AuditError::io("flush", parent))
        }
        Some(_) | None => Ok(()),
    }
}

/// The origin of the journal in `directory`.
pub(super) fn read_origin(directory: &Path) -> Result<String, AuditError> {
    let path = directory.join(ORIGIN_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim_end_matches('\n').to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(AuditError::NotAJournal { path: directory.to_owned(), lacks: "its origin" })
        }
        Err(error) => Err(AuditError::io("read", &path)(error)),
    }
}

/// First numbers of all segments in `directory`, ascending.
pub(super) fn list(directory: &Path) -> Result<Vec<u64>, AuditError> {
    let failed = || AuditError::io("list", directory);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed())? {
        let name = entry.map_err(failed())?.file_name();
        found.extend(name.to_str().and_then(first_seq_of));
    }
    found.sort_unstable();
    Ok(found)
}

fn first_seq_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("audit-")?.strip_suffix(".log")?;
    let form = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    form.then(|| digits.parse().ok()).flatten()
}

/// The path of the segment that begins with record `first_seq`.
pub(super) fn path_of(directory: &Path, first_seq: u64) -> PathBuf {
    directory.join(format!("audit-{first_seq:020}.log"))
}

/// How much room is left for records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Enough,
    Low { free_percent: u64 },
    None { free_percent: u64 },
}

/// Sizes and limits of the files.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) segment_bytes: u64,
    pub(super) reserve_bytes: u64,
    pub(super) alarm_free_percent: u64,
    pub(super) block_free_percent: u64,
}

/// The writing end of a journal; holds the lock on its directory.
#[derive(Debug)]
pub(super) struct Segments {
    directory: PathBuf,
    /// Holds the lock, and is what new names are flushed through.
    handle: File,
    file: File,
    first_seq: u64,
    bytes: u64,
    head: Head,
    limits: Limits,
    boot: String,
    started: Instant,
    /// What the clock had reached when a run opens its journal once more.
    mono_base_ns: u64,
    buffer: Vec<u8>,
    prefix: Vec<u8>,
}

impl Segments {
    /// Locks the directory, scans the last two segments (a link between two is
    /// checked nowhere else at the start) and cuts off what an interrupted write
    /// left at the end.
    pub(super) fn open(
        directory: &Path,
        limits: Limits,
        boot: String,
    ) -> Result<(Self, Option<TailRecovered>), AuditError> {
        let handle = File::open(directory).map_err(AuditError::io("open", directory))?;
        match handle.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(AuditError::Locked(directory.to_owned()));
            }
            Err(fs::TryLockError::Error(error)) => {
                return Err(AuditError::io("lock", directory)(error));
            }
        }
        let origin = read_origin(directory)?;
        let segments = list(directory)?;
        let Some((&first_seq, older)) = segments.split_last() else {
            return Err(AuditError::NotAJournal { path: directory.to_owned(), lacks: "its last segment" });
        };
        let mut chain = match (first_seq, older.last()) {
            (1, _) => Chain::new(0, Some(Hash::of_origin(&origin))),
            (_, Some(&previous)) => {
                let path = path_of(directory, previous);
                fs::set_permissions(&path, Permissions::from_mode(0o440))
                    .map_err(AuditError::io("seal", &path))?;
                chain_of_sealed(&path, previous, first_seq)?
            }
            (_, None) => Chain::new(first_seq.saturating_sub(1), None),
        };
        let path = path_of(directory, first_seq);
        let mut file =
            OpenOptions::new().read(true).append(true).open(&path).map_err(AuditError::io("open", &path))?;
        let (bytes, fault) = scan(&file, &path, &mut chain)?;
        let recovered = match fault {
            None => None,
            Some(fault) => {
                let seq = chain.next_seq();
                let in_frame = matches!(fault, Fault::IncompleteFrame | Fault::Length | Fault::Checksum);
                let tail = match in_frame {
                    true => torn::torn_tail(&mut file, &path, bytes, seq)?,
                    false => None,
                };
                let Some(tail) = tail else {
                    return Err(AuditError::Damaged { path, offset: bytes, seq, fault });
                };
                Some(torn::cut(&handle, &file, &path, bytes, &tail)?)
            }
        };
        let Some(head) = chain.head() else {
            return Err(AuditError::NotAJournal {
                path: directory.to_owned(),
                lacks: "the segment before the last",
            });
        };
        let segments = Self {
            directory: directory.to_owned(),
            handle,
            file,
            first_seq,
            bytes,
            head,
            limits,
            mono_base_ns: chain.mono_ns_of(&boot),
            boot,
            started: Instant::now(),
            buffer: Vec::new(),
            prefix: Vec::new(),
        };
        segments.reserve_space()?;
        Ok((segments, recovered))
    }

    /// Appends one record an event; they are durable when this returns `Ok`.
    ///
    /// After an error the file may hold some of them, and what the kernel holds
    /// of it can no longer be trusted: never call this again.
    pub(super) fn write(&mut self, events: &[Encoded]) -> Result<Head, AuditError> {
        if self.bytes >= self.limits.segment_bytes {
            self.roll()?;
        }
        let elapsed_ns = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mono_ns = self.mono_base_ns.saturating_add(elapsed_ns);
        let mut head = self.head;
        self.buffer.clear();
        for event in events {
            head = record::write_frame(
                &mut self.buffer,
                &mut self.prefix,
                &head,
                &self.boot,
                mono_ns,
                event.as_bytes(),
            )?;
        }
        let path = path_of(&self.directory, self.first_seq);
        self.file.write_all(&self.buffer).map_err(AuditError::io("append to", &path))?;
        self.file.sync_data().map_err(AuditError::io("flush", &path))?;
        let added = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(added);
        self.head = head;
        self.buffer.shrink_to(KEPT_BUFFER_BYTES);
        Ok(head)
    }

    /// Makes sure that what is written is still reachable under its name, and
    /// looks how much space is left.
    ///
    /// When the space ends, the reserve is given up, so that what follows from
    /// it can still be recorded.
    pub(super) fn check(&mut self) -> Result<Room, AuditError> {
        let path = path_of(&self.directory, self.first_seq);
        let failed = || AuditError::io("find", &path);
        let open = self.file.metadata().map_err(failed())?;
        let named = fs::symlink_metadata(&path).map_err(failed())?;
        let same = (open.dev(), open.ino()) == (named.dev(), named.ino());
        if !same || open.nlink() == 0 || open.len() != self.bytes {
            let changed = io::Error::other("the segment was replaced or changed by others");
            return Err(failed()(changed));
        }
        let space = rustix::fs::statvfs(&self.directory)
            .map_err(|errno| AuditError::io("measure", &self.directory)(errno.into()))?;
        let free_percent = space.f_bavail.saturating_mul(100).checked_div(space.f_blocks).unwrap_or(100);
        let reserve = self.directory.join(RESERVE_FILE);
        if free_percent < self.limits.block_free_percent {
            if reserve.exists() {
                fs::remove_file(&reserve).map_err(AuditError::io("release", &reserve))?;
            }
            return Ok(Room::None { free_percent });
        }
        if !reserve.exists() && make_reserve(&reserve, self.limits.reserve_bytes).is_err() {
            return Ok(Room::None { free_percent });
        }
        Ok(match free_percent < self.limits.alarm_free_percent {
            true => Room::Low { free_percent },
            false => Room::Enough,
        })
    }

    /// The last record.
    pub(super) fn head(&self) -> Head {
        self.head
    }

    fn roll(&mut self) -> Result<(), AuditError> {
        let first_seq = self.head.seq.saturating_add(1);
        let size = self.limits.segment_bytes;
        let next = new_segment(&self.directory, &self.handle, first_seq, size)?;
        let full = std::mem::replace(&mut self.file, next);
        let path = path_of(&self.directory, self.first_seq);
        let seal = || {
            // Also gives back what was reserved beyond the end.
            full.set_len(self.bytes)?;
            full.set_permissions(Permissions::from_mode(0o440))?;
            full.sync_all()
        };
        seal().map_err(AuditError::io("seal", &path))?;
        self.first_seq = first_seq;
        self.bytes = 0;
        Ok(())
    }

    fn reserve_space(&self) -> Result<(), AuditError> {
        let path = path_of(&self.directory, self.first_seq);
        preallocate(&self.file, self.limits.segment_bytes).map_err(AuditError::io("reserve space for", &path))
    }
}

/// Creates a segment so that it is there after a power failure.
fn new_segment(directory: &Path, handle: &File, first_seq: u64, bytes: u64) -> Result<File, AuditError> {
    let path = path_of(directory, first_seq);
    let make = || {
        let file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&path)?;
        preallocate(&file, bytes)?;
        file.sync_all()?;
        handle.sync_all()?;
        Ok(file)
    };
    make().map_err(AuditError::io("create", &path))
}

/// Reserves blocks for `bytes` of a file and leaves its length as it is.
///
/// It only makes flushes faster: without the space for it there is none of it,
/// and whether records find room is for [`Segments::check`] to say.
fn preallocate(file: &File, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        // A part may have been reserved, which others need more now.
        Err(Errno::NOSPC | Errno::DQUOT) => file.set_len(file.metadata()?.len()),
        Err(errno) => Err(errno.into()),
    }
}

/// Fills the reserve with data, so that it takes space on every file system.
fn make_reserve(path: &Path, bytes: u64) -> io::Result<()> {
    let size = usize::try_from(bytes).map_err(io::Error::other)?;
    write_file(path, &vec![0x5a; size]).inspect_err(|_error| {
        // Half a reserve would be taken for a whole one.
        fs::remove_file(path).unwrap_or_default();
    })
}

fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Follows `chain` through a segment; returns where the good records end, and
/// what is wrong there.
///
/// What is read comes from the disk: after a failed flush the kernel may show
/// pages as if they had been written, until it drops them.
fn scan(file: &File, path: &Path, chain: &mut Chain) -> Result<(u64, Option<Fault>), AuditError> {
    // Only pages that wait for nothing are dropped.
    file.sync_data().map_err(AuditError::io("flush", path))?;
    rustix::fs::fadvise(file, 0, None, Advice::DontNeed)
        .map_err(|errno| AuditError::io("read afresh", path)(errno.into()))?;
    let mut frames = Frames::new(BufReader::with_capacity(1 << 16, file), 0);
    loop {
        let offset = frames.offset();
        match frames.read().map_err(AuditError::io("read", path))? {
            None => return Ok((offset, None)),
            Some(Err(fault)) => return Ok((offset, Some(fault))),
            Some(Ok(body)) => {
                if let Err(fault) = chain.follow(body) {
                    return Ok((offset, Some(fault)));
                }
            }
        }
    }
}

/// The chain at the end of a full segment, which `next_first_seq` follows.
fn chain_of_sealed(path: &Path, first_seq: u64, next_first_seq: u64) -> Result<Chain, AuditError> {
    let file = File::open(path).map_err(AuditError::io("open", path))?;
    let mut chain = Chain::new(first_seq.saturating_sub(1), None);
    let (offset, fault) = scan(&file, path, &mut chain)?;
    let fits = chain.next_seq() == next_first_seq;
    match fault.or((!fits).then_some(Fault::SegmentName)) {
        None => Ok(chain),
        Some(fault) => {
            Err(AuditError::Damaged { path: path.to_owned(), offset, seq: chain.next_seq(), fault })
        }
    }
}
