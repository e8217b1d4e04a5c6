//! Which pairs of neighbouring bytes occur in a text: a quick way to see that
//! a pattern cannot match, before any matching is done.

/// A set of byte pairs, in which several pairs may share a bit: it may say that
/// a pair is there which is not, never the reverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pairs([u64; 4]);

impl Pairs {
    pub(super) const NONE: Self = Self([0; 4]);
    pub(super) const ALL: Self = Self([u64::MAX; 4]);

    /// The pairs of a text.
    pub(super) fn of(text: &str) -> Self {
        let mut pairs = Self::NONE;
        pairs.add(text);
        pairs
    }

    /// The pairs that are in every text which one of these patterns matches.
    pub(super) fn required_by(patterns: &[&str]) -> Self {
        patterns.iter().fold(Self::ALL, |common, pattern| {
            let mut own = Self::NONE;
            pattern.split(['*', '?']).for_each(|literal| own.add(literal));
            let mut both = common;
            both.0.iter_mut().zip(own.0).for_each(|(word, own)| *word &= own);
            both
        })
    }

    pub(super) fn contains(&self, others: &Self) -> bool {
        self.0.iter().zip(others.0).all(|(own, others)| others & !own == 0)
    }

    fn add(&mut self, text: &str) {
        for (first, second) in text.bytes().zip(text.bytes().skip(1)) {
            // Multiplying by odd numbers spreads digits and letters, whose codes are close.
            let bit = first.wrapping_mul(37).wrapping_add(second.wrapping_mul(101));
            if let Some(word) = self.0.get_mut(usize::from(bit >> 6)) {
                *word |= 1 << (bit & 63);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_matches_has_all_required_pairs() {
        for (patterns, text) in [
            (&["acs:kms:*:*:secret/db/*"][..], "acs:kms:r:1:secret/db/a"),
            (&["a?c*"], "abcd"),
            (&["*"], ""),
            (&["never", "a*"], "abc"),
            (&["密?*"], "密钥"),
        ] {
            assert!(Pairs::of(text).contains(&Pairs::required_by(patterns)), "{patterns:?} {text}");
        }
    }

    #[test]
    fn texts_of_other_secrets_are_told_apart() {
        let required = Pairs::required_by(&["acs:kms:*:*:secret/web/*", "acs:kms:*:*:secret/web2"]);
        let others = ["acs:kms:cn-hangzhou:1234567890123456:secret/db/prod", "acs:kms:r:1:secret", ""];
        assert!(others.iter().all(|text| !Pairs::of(text).contains(&required)));
    }
}
