//! The state in the format of the original (`docs/migration.md`). Nothing changes, so no decision is needed: the
//! published state answers.

use crate::access::{Caller, Permit, recognise};
use crate::ambient::Ambient;
use crate::original::{self, ExportError};
use crate::refusal::{Refusal, RefusalKind};
use crate::state::State;

/// A state in the format of the original.
pub struct StateExported {
    /// Who asked, for the log.
    pub caller: Caller,
    /// The file: encrypted with the data key of the state.
    pub sealed_data: Vec<u8>,
}

/// Exports the state. `leaf` is the caller's certificate, DER.
///
/// # Errors
/// `Unauthenticated`; `Denied` without `UpdateManifest`; `Conflict` for a state that has no recovery keys, a pending
/// update, or something the original cannot represent.
pub fn export(state: &State, leaf: Option<&[u8]>, ambient: &Ambient<'_>) -> Result<StateExported, Refusal> {
    let caller = recognise(state, leaf)?;
    Permit::update_manifest(state, &caller, "export the state")?;
    let sealed_data = original::export(state, ambient)?;
    Ok(StateExported { caller, sealed_data })
}

impl From<ExportError> for Refusal {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::NoManifest => Self::wrong_phase(),
            ExportError::NoRecoveryKeys
            | ExportError::UpdatePending
            | ExportError::NotRepresentable { .. } => Self::new(RefusalKind::Conflict, error.to_string()),
            ExportError::Encoding(_) => Self::internal(error),
            ExportError::Crypto(fault) => fault.into(),
        }
    }
}
