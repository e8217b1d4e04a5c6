//! Buffers that carry frames and leave nothing behind.

use std::ops::Range;

use zeroize::Zeroize;

use crate::protocol::{MAX_FRAME_BYTES, Malformed};

/// Bytes of a length field.
const LENGTH_BYTES: usize = 4;

/// An append-only buffer that wipes what it held when it is cleared, grown or
/// dropped.
pub(crate) struct WipingBuffer {
    bytes: Vec<u8>,
}

impl WipingBuffer {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::with_capacity(16 * 1024) }
    }

    pub(crate) fn push_u8(&mut self, value: u8) {
        self.push(&[value]);
    }

    pub(crate) fn push_u32(&mut self, value: u32) {
        self.push(&value.to_le_bytes());
    }

    pub(crate) fn push_u64(&mut self, value: u64) {
        self.push(&value.to_le_bytes());
    }

    /// Appends `bytes` as they are.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.bytes.capacity() - self.bytes.len() < bytes.len() {
            // A vector that grows by itself leaves its old contents in freed
            // memory.
            let capacity = (self.bytes.len() + bytes.len()).max(self.bytes.capacity() * 2);
            let mut larger = Vec::with_capacity(capacity);
            larger.extend_from_slice(&self.bytes);
            self.bytes.as_mut_slice().zeroize();
            self.bytes = larger;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends `bytes` behind their length.
    pub(crate) fn push_sized(&mut self, bytes: &[u8]) {
        self.push_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.push(bytes);
    }

    /// Begins a frame; [`end_frame`](Self::end_frame) takes what is returned.
    pub(crate) fn begin_frame(&mut self, id: u64, tag: u8) -> usize {
        let start = self.bytes.len();
        self.push_u32(0);
        self.push_u64(id);
        self.push_u8(tag);
        start
    }

    /// Writes the length of the frame that began at `start`.
    pub(crate) fn end_frame(&mut self, start: usize) {
        let length = self.bytes.len().saturating_sub(start + LENGTH_BYTES);
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
        if let Some(field) = self.bytes.get_mut(start..start + LENGTH_BYTES) {
            field.copy_from_slice(&length);
        }
    }

    /// Wipes and forgets everything behind the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.bytes.get_mut(len..).unwrap_or_default().zeroize();
        self.bytes.truncate(len);
    }

    pub(crate) fn clear(&mut self) {
        self.truncate(0);
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for WipingBuffer {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Cuts frames out of a byte stream; each is wiped when the next is asked for.
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    /// Where the unread part begins and ends.
    unread: Range<usize>,
    /// The frame handed out last.
    taken: Range<usize>,
}

/// One frame without its length.
pub(crate) struct Frame<'a> {
    pub(crate) id: u64,
    pub(crate) tag: u8,
    pub(crate) body: &'a [u8],
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; 64 * 1024], unread: 0..0, taken: 0..0 }
    }

    /// Room to read into; never empty.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        self.wipe_taken();
        if self.unread.start > 0 {
            self.bytes.copy_within(self.unread.clone(), 0);
            let kept = self.unread.len();
            // What the move did not overwrite would stay behind twice.
            let stale = kept.max(self.unread.start)..self.unread.end.max(kept);
            self.bytes.get_mut(stale).unwrap_or_default().zeroize();
            self.unread = 0..kept;
        }
        if self.unread.end == self.bytes.len() {
            let mut larger = vec![0; self.bytes.len() * 2];
            if let Some(front) = larger.get_mut(..self.bytes.len()) {
                front.copy_from_slice(&self.bytes);
            }
            self.bytes.as_mut_slice().zeroize();
            self.bytes = larger;
        }
        self.bytes.get_mut(self.unread.end..).unwrap_or_default()
    }

    /// Says how much of [`space`](Self::space) was written.
    pub(crate) fn filled(&mut self, count: usize) {
        self.unread.end = (self.unread.end + count).min(self.bytes.len());
    }

    /// The next whole frame, or `None` until more was read.
    pub(crate) fn next(&mut self) -> Result<Option<Frame<'_>>, Malformed> {
        self.wipe_taken();
        let unread = self.bytes.get(self.unread.clone()).unwrap_or_default();
        let Some((length, rest)) = unread.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > MAX_FRAME_BYTES {
            return Err(Malformed("a frame exceeds the limit"));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let end = self.unread.start + LENGTH_BYTES + length;
        self.taken = self.unread.start..end;
        self.unread.start = end;
        let frame = self.bytes.get(self.taken.start + LENGTH_BYTES..end).unwrap_or_default();
        let mut fields = Fields::new(frame);
        Ok(Some(Frame { id: fields.u64()?, tag: fields.u8()?, body: fields.rest() }))
    }

    fn wipe_taken(&mut self) {
        self.bytes.get_mut(self.taken.clone()).unwrap_or_default().zeroize();
        self.taken = 0..0;
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.wipe_taken();
        self.bytes.get_mut(self.unread.clone()).unwrap_or_default().zeroize();
    }
}

/// Reads the fields of a body one after the other.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed("a field is cut short"))?;
        self.0 = rest;
        Ok(*taken)
    }

    /// Bytes behind their length.
    pub(crate) fn sized(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed("a field is cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Fields, Inbox, WipingBuffer};

    fn deliver(inbox: &mut Inbox, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let space = inbox.space();
            let count = space.len().min(rest.len());
            space[..count].copy_from_slice(&rest[..count]);
            inbox.filled(count);
            rest = &rest[count..];
        }
    }

    fn frame(id: u64, body: &[u8]) -> WipingBuffer {
        let mut buffer = WipingBuffer::new();
        let start = buffer.begin_frame(id, 7);
        buffer.push_sized(body);
        buffer.end_frame(start);
        buffer
    }

    #[test]
    fn frames_are_cut_wherever_the_stream_breaks() {
        let mut stream = Vec::new();
        for id in 1..=50_u8 {
            stream.extend_from_slice(frame(id.into(), &vec![id; usize::from(id) * 400]).as_slice());
        }
        for step in [1, 3, 13, 4096, 100_000] {
            let mut inbox = Inbox::new();
            let mut next = 1_u8;
            for piece in stream.chunks(step) {
                deliver(&mut inbox, piece);
                while let Some(frame) = inbox.next().unwrap() {
                    assert_eq!((frame.id, frame.tag), (next.into(), 7));
                    let body = Fields::new(frame.body).sized().unwrap();
                    assert_eq!(body, vec![next; usize::from(next) * 400]);
                    next += 1;
                }
            }
            assert_eq!(next, 51);
        }
    }

    #[test]
    fn nothing_of_a_frame_stays_in_the_inbox() {
        let mut inbox = Inbox::new();
        let bytes = frame(1, &[0xaa; 300]);
        deliver(&mut inbox, bytes.as_slice());
        deliver(&mut inbox, &frame(2, &[0xbb; 300]).as_slice()[..100]);
        assert!(inbox.next().unwrap().is_some());
        assert!(inbox.next().unwrap().is_none());
        inbox.space();
        assert!(!inbox.bytes.contains(&0xaa));
        let second = inbox.bytes.iter().filter(|byte| **byte == 0xbb).count();
        assert_eq!(second, 100 - 17, "the unread part exists exactly once");
    }

    #[test]
    fn clearing_a_buffer_wipes_it() {
        let mut buffer = frame(1, &[0xaa; 64]);
        let whole = buffer.len();
        buffer.clear();
        buffer.bytes.resize(whole, 0);
        assert!(buffer.as_slice().iter().all(|byte| *byte == 0));
        assert!(!buffer.is_empty());
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused() {
        let mut inbox = Inbox::new();
        deliver(&mut inbox, &u32::MAX.to_le_bytes());
        assert!(inbox.next().is_err());
    }

    #[test]
    fn a_field_cut_short_is_refused() {
        assert!(Fields::new(&[3, 0, 0, 0, 1]).sized().is_err());
        assert!(Fields::new(&[1]).u32().is_err());
    }
}
