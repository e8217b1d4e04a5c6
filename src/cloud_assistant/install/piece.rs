//! A part of what is sent.

use aws_lc_rs::digest;
use data_encoding::{BASE64, HEXLOWER};

/// A part of the program.
pub(super) struct Piece<'a> {
    /// Its number, of four digits.
    pub(super) name: String,
    /// Its SHA-256, in hexadecimal.
    pub(super) hash: String,
    bytes: &'a [u8],
}

impl<'a> Piece<'a> {
    pub(super) fn new((index, bytes): (usize, &'a [u8])) -> Self {
        Self { name: format!("{index:04}"), hash: sha256(bytes), bytes }
    }

    /// The line by which the instance says that it has this piece.
    ///
    /// A piece is told by the first 16 digits of its hash, which are enough
    /// against accidents: the whole is checked before it is put in place.
    pub(super) fn mark(&self) -> String {
        let short: String = self.hash.chars().take(16).collect();
        format!("SR-PIECE {} {short}", self.name)
    }

    /// Its Base64, on lines that every tool takes.
    pub(super) fn lines(&self) -> String {
        let text = BASE64.encode(self.bytes);
        let lines: Vec<&str> =
            text.as_bytes().chunks(1000).map(|line| str::from_utf8(line).unwrap_or_default()).collect();
        lines.join("\n")
    }
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref())
}
