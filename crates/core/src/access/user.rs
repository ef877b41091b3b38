//! Callers of the client API, recognised by their TLS client certificate. That they hold its key was proven in the
//! handshake.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::manifest::{Name, User};
use crate::pki::marble::{self, NotAMarble};
use crate::refusal::{Refusal, RefusalKind};
use crate::sealed::sha256;
use crate::state::State;

/// The users of a manifest by the SHA-256 of their certificate. Made once for each manifest.
#[derive(Default)]
pub struct UserIndex(BTreeMap<[u8; 32], Name>);

impl UserIndex {
    /// Of these users, whose certificates differ.
    pub fn of(users: &BTreeMap<Name, User>) -> Self {
        let entry = |(name, user): (&Name, &User)| (sha256(&[&user.certificate]), Arc::clone(name));
        Self(users.iter().map(entry).collect())
    }

    /// The name under which a certificate with these bytes may stand.
    fn find(&self, certificate: &[u8]) -> Option<&Name> {
        self.0.get(&sha256(&[certificate]))
    }
}

/// Who is known to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A user of the manifest.
    User {
        /// The name in `Users`.
        name: Name,
    },
    /// A marble whose entry in the manifest names roles: it counts as a user with these roles.
    Marble {
        /// The marble type.
        marble_type: Name,
        /// The marble's UUID.
        uuid: Uuid,
    },
}

impl Caller {
    /// How messages and the update log name the caller: a user by his name, a marble as `type/uuid`.
    pub fn name(&self) -> Name {
        match self {
            Self::User { name } => Arc::clone(name),
            Self::Marble { marble_type, uuid } => format!("{marble_type}/{}", uuid.hyphenated()).into(),
        }
    }
}

/// The caller did not prove to be anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unrecognised {
    /// No certificate, or neither that of a user nor that of a marble with roles.
    #[error("unauthorized user: client certificate did not match any MarbleRun users")]
    User,
    /// No certificate where a marble's is needed.
    #[error("unauthorized marble: client certificate did not match any Marble")]
    NoMarble,
    /// A certificate that is not that of a marble started under the current manifest.
    #[error("unauthorized marble: {reason}")]
    Marble {
        /// What is wrong with it.
        reason: NotAMarble,
    },
}

impl From<Unrecognised> for Refusal {
    fn from(unrecognised: Unrecognised) -> Self {
        Self::new(RefusalKind::Unauthenticated, unrecognised.to_string())
    }
}

/// Recognises a user by exactly the bytes of his certificate, or a marble with roles by its marble certificate.
///
/// `leaf` is the certificate presented in the handshake, DER; what is sent behind it is never looked at. Nothing
/// else of a user's certificate matters, so nobody locks himself out by expiry. Without a manifest there are no
/// users.
///
/// # Errors
/// [`Unrecognised::User`]
pub fn recognise(state: &State, leaf: Option<&[u8]>) -> Result<Caller, Unrecognised> {
    let (Some(leaf), Some(manifest)) = (leaf, state.manifest()) else {
        return Err(Unrecognised::User);
    };
    let user = manifest.user_index.find(leaf).filter(|name| {
        manifest
            .users
            .get(*name)
            .is_some_and(|user| *user.certificate == *leaf)
    });
    if let Some(name) = user {
        return Ok(Caller::User {
            name: Arc::clone(name),
        });
    }
    let (marble_type, uuid) = recognise_marble(state, Some(leaf)).map_err(|_| Unrecognised::User)?;
    match manifest.marbles.get(&marble_type) {
        Some(marble) if !marble.roles.is_empty() => Ok(Caller::Marble { marble_type, uuid }),
        _ => Err(Unrecognised::User),
    }
}

/// Recognises a marble started under the current manifest, whatever its roles: its type and its UUID.
///
/// # Errors
/// [`Unrecognised::NoMarble`], [`Unrecognised::Marble`]
pub fn recognise_marble(state: &State, leaf: Option<&[u8]>) -> Result<(Name, Uuid), Unrecognised> {
    let leaf = leaf.ok_or(Unrecognised::NoMarble)?;
    let marble =
        marble::recognise(state.authority(), leaf).map_err(|reason| Unrecognised::Marble { reason })?;
    Ok((marble.marble_type.into(), marble.uuid))
}
