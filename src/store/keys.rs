//! The tables of customer master keys.

/// A table of customer master keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyTable {
    /// Their other names, by alias.
    Aliases,
    /// The keys, by id.
    Keys,
}

impl KeyTable {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Aliases, Self::Keys];

    /// The table's name, which its rows' MACs cover.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aliases => "key_aliases",
            Self::Keys => "keys",
        }
    }
}
