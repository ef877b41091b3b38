//! The phases of a Coordinator (`spec/05`).

/// What the Coordinator is ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// There is state that does not open: it waits for recovery or for a new manifest.
    Recovery,
    /// There is no manifest yet.
    AcceptingManifest,
    /// A manifest is set.
    AcceptingMarbles,
}

impl Phase {
    /// The code `status` replies with.
    pub const fn code(self) -> u8 {
        match self {
            Self::Recovery => 1,
            Self::AcceptingManifest => 2,
            Self::AcceptingMarbles => 3,
        }
    }

    /// The sentence `status` replies with; clients compare it.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Recovery => {
                "Coordinator is in recovery mode. Either upload a key to unseal the saved state, or set a new \
                 manifest. For more information on how to proceed, consult the documentation."
            }
            Self::AcceptingManifest => "Coordinator is ready to accept a manifest.",
            Self::AcceptingMarbles => "Coordinator is running correctly and ready to accept marbles.",
        }
    }
}
