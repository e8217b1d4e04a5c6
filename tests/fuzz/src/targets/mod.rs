//! One function for each target. It takes any bytes, and panics when something
//! does not hold that has to hold for all of them. Fields of an input are
//! separated by a byte that no UTF-8 text has.

mod canonical;
mod decode;
mod naive;
mod policy;
mod signature;

pub use canonical::canonical;
pub use decode::decode;
pub use policy::policy;
pub use signature::signature;

/// A target: what is done with an input.
pub type Target = fn(&[u8]);

/// All of them, by the names of their corpora.
pub const ALL: [(&str, Target); 4] =
    [("canonical", canonical), ("decode", decode), ("policy", policy), ("signature", signature)];

/// Ends a field.
pub const SEPARATOR: u8 = 0xff;

/// The first `N` fields; the last one has all the rest.
fn fields<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut pieces = data.splitn(N, |byte| *byte == SEPARATOR);
    std::array::from_fn(|_| pieces.next().unwrap_or_default())
}
