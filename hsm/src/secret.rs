//! Bytes that must not be seen.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes that must not be seen: a password, a private key, a data key, a PIN.
///
/// The bytes are wiped when the value is dropped. There is no `Clone`, no
/// `Display`, no `Serialize` and no `Deref`: to read them, call
/// [`expose`](Self::expose), so that a search for `.expose(` lists every place
/// where plaintext is touched.
///
/// ```
/// use strongroom_hsm::SecretBytes;
///
/// let pin = SecretBytes::copy_of(b"1234");
/// assert_eq!(format!("{pin:?}"), "SecretBytes(4 bytes)");
/// assert!(pin.matches(b"1234"));
/// ```
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SecretBytes(Box<[u8]>);

impl SecretBytes {
    /// A copy of `bytes`. Wiping the original stays the caller's duty.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// Takes over the contents of `bytes`.
    ///
    /// A vector with spare room would be moved by the allocator when it
    /// shrinks; its contents are then copied and the old buffer is wiped.
    #[must_use]
    pub fn from_vec(mut bytes: Vec<u8>) -> Self {
        if bytes.len() == bytes.capacity() {
            return Self(bytes.into_boxed_slice());
        }
        let copy = Self::copy_of(&bytes);
        bytes.zeroize();
        copy
    }

    /// `len` bytes that `fill` writes into a buffer of the final size, which
    /// leaves no copy behind.
    ///
    /// # Errors
    ///
    /// Whatever `fill` returns; what it had written is wiped.
    pub fn filled<E>(len: usize, fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut secret = Self(vec![0; len].into_boxed_slice());
        fill(&mut secret.0)?;
        Ok(secret)
    }

    /// The bytes themselves. Called at the rims only.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes there are; this is not treated as secret.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether both are the same bytes; the time taken depends on the lengths
    /// only.
    #[must_use]
    pub fn matches(&self, other: &[u8]) -> bool {
        verify_slices_are_equal(&self.0, other).is_ok()
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::SecretBytes;

    #[test]
    fn debug_output_shows_the_length_and_nothing_else() {
        let secret = SecretBytes::copy_of(b"correct horse");
        assert_eq!(format!("{secret:?}"), "SecretBytes(13 bytes)");
        assert_eq!(format!("{secret:#?}"), "SecretBytes(13 bytes)");
    }

    #[test]
    fn a_vector_with_spare_room_keeps_its_contents() {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(b"abc");
        assert_eq!(SecretBytes::from_vec(bytes).expose(), b"abc");
        assert_eq!(SecretBytes::from_vec(b"abc".to_vec()).expose(), b"abc");
    }

    #[test]
    fn comparison_looks_at_every_byte_and_the_length() {
        let secret = SecretBytes::copy_of(b"abc");
        assert!(secret.matches(b"abc"));
        assert!(!secret.matches(b"abd"));
        assert!(!secret.matches(b"ab"));
        assert!(!secret.matches(b"abcd"));
        assert!(SecretBytes::copy_of(b"").is_empty());
    }

    #[test]
    fn a_failed_fill_gives_its_own_error() {
        let failed = SecretBytes::filled(4, |buffer| {
            buffer.fill(1);
            Err("no entropy")
        });
        assert_eq!(failed.err(), Some("no entropy"));
        let filled = SecretBytes::filled(2, |buffer| {
            buffer.copy_from_slice(b"ok");
            Ok::<(), ()>(())
        });
        assert!(filled.is_ok_and(|secret| secret.expose() == b"ok"));
    }
}
