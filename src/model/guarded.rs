//! A row as it is kept: its text and the MAC that guards it.

/// The text of a row and the MAC over table, key and text. What it says may be
/// believed only once `seal` has checked the MAC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// The row's value in JSON.
    pub body: String,
    /// HMAC-SHA-256.
    pub mac: Vec<u8>,
}
