/// The subject of a failure count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Principals that exist, at sources where they are not trusted.
    Known,
    /// Names that do not exist, and identities whose seeds do not decrypt.
    Unknown,
    /// Sources.
    Source,
    /// Principals at one of their trusted sources.
    Pair,
    /// Principals at all their trusted sources.
    Trusted,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Known,
        Self::Unknown,
        Self::Source,
        Self::Pair,
        Self::Trusted,
    ];

    /// Returns its name in the store and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Unknown => "unknown",
            Self::Source => "source",
            Self::Pair => "pair",
            Self::Trusted => "trusted",
        }
    }
}
