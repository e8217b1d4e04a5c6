//! What lies beneath HTTP: whether a connection is used, and its bytes, among
//! which our answers are told from the bare ones that hyper gives by itself to
//! what it cannot read.
//!
//! Clients parse every error as JSON, and no answer leaves unrecorded
//! (kms-secrets.md section 0, points 11 and 14), so hyper's own answer is held
//! back; the listener finds its status here and answers instead.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Counts the requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// A request under way; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Activity>);

impl Activity {
    pub(super) fn begin(this: &Arc<Self>) -> UnderWay {
        this.begun.fetch_add(1, Ordering::SeqCst);
        UnderWay(Arc::clone(this))
    }

    /// Returns once no request was under way for `limit`, and before twice that.
    ///
    /// HTTP/2 needs it: a client may negotiate it, send nothing, or answer pings
    /// for ever, and keep its slot.
    pub(super) async fn pauses(&self, limit: Duration) {
        loop {
            let begun = self.begun.load(Ordering::SeqCst);
            let is_idle = self.ended.load(Ordering::SeqCst) == begun;
            tokio::time::sleep(limit).await;
            if is_idle && self.begun.load(Ordering::SeqCst) == begun {
                return;
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

/// Longest head that hyper makes for an answer of its own.
const MAX_BARE: usize = 256;

/// A stream on which hyper's own refusals are held back.
#[derive(Debug)]
pub(super) struct Transport<S> {
    stream: TokioIo<S>,
    held_back: Option<u16>,
}

impl<S> Transport<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream: TokioIo::new(stream), held_back: None }
    }

    /// The stream, and the status of the answer that was held back.
    pub(super) fn into_parts(self) -> (S, Option<u16>) {
        (self.stream.into_inner(), self.held_back)
    }

    /// Whether `bytes` are not to be written: hyper's own refusal, or anything after it.
    fn holds_back(&mut self, bytes: &[u8]) -> bool {
        if self.held_back.is_none() {
            self.held_back = bare_refusal(bytes);
        }
        self.held_back.is_some()
    }
}

/// The status of a whole answer with an error and no body. Ours have a body,
/// and no part of a JSON text ends like a head.
fn bare_refusal(bytes: &[u8]) -> Option<u16> {
    if bytes.len() > MAX_BARE || !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let text = str::from_utf8(bytes).ok()?;
    let status = text.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    (status >= 400 && text.contains("content-length: 0\r\n")).then_some(status)
}

impl<S: AsyncRead + Unpin> Read for Transport<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> Write for Transport<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.holds_back(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held_back.is_some() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = bufs.iter().filter(|buf| !buf.is_empty());
        if let (Some(only), None) = (filled.next(), filled.next())
            && self.holds_back(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_refusal_without_a_body_is_held_back() {
        let bare =
            b"HTTP/1.1 414 URI Too Long\r\ncontent-length: 0\r\ndate: Mon, 06 May 2024 07:08:09 GMT\r\n\r\n";
        assert_eq!(bare_refusal(bare), Some(414));
        assert_eq!(
            bare_refusal(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
            Some(400)
        );
        for ours in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 20\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n{}",
            b"HTTP/1.1 4",
            b"{}",
            b"",
        ] {
            assert_eq!(bare_refusal(ours), None);
        }
    }
}
