//! Changes by users and marbles, kinds 5 to 13 (the table is in `change_codec`).

use std::sync::Arc;

use minicbor::decode::Decoder;
use minicbor::encode::{Encoder, Write};

use super::cbor::{Encoded, Fault, read_map, read_optional, required};
use super::change_codec::compile;
use super::value_codec::{
    bytes, decode_named, decode_names, decode_previous, decode_value, encode_named, encode_names,
    encode_previous, encode_value, private_key, root_secret, uuid,
};
use crate::ambient::Timestamp;
use crate::change::{Change, Missing};
use crate::manifest::Name;

/// Kind and fields. Kinds 1 to 4 are not for here and get no encoding.
pub(super) fn encode_update<W: Write>(to: &mut Encoder<W>, change: &Change) -> Encoded<W> {
    match change {
        Change::ManifestSet { .. }
        | Change::DataKeyDrawn { .. }
        | Change::SecretsGenerated { .. }
        | Change::ActivationCounted { .. } => Ok(()),
        Change::SecretsWritten { at, user, values } => {
            begin(to, 5, 3, *at)?;
            to.u8(2)?.str(user)?;
            to.u8(3)?;
            let values = values.iter().map(|(name, value)| (name, value));
            encode_named(to, values, |to, value| match value {
                Some(value) => encode_value(to, value),
                None => to.null()?.ok(),
            })
        }
        Change::PackagesRaised { at, user, versions } => {
            begin(to, 6, 3, *at)?;
            to.u8(2)?.str(user)?;
            to.u8(3)?;
            let versions = versions.iter().map(|(name, version)| (name, version));
            encode_named(to, versions, |to, version| to.u64(*version)?.ok())
        }
        Change::IntermediateRenewed {
            intermediate,
            marble_root,
            key,
        } => {
            to.u8(7)?.map(3)?;
            to.u8(1)?.bytes(intermediate)?;
            to.u8(2)?.bytes(marble_root)?;
            to.u8(3)?.bytes(key.pkcs8().expose())?.ok()
        }
        Change::UpdateProposed {
            at,
            user,
            votes,
            raw,
            missing,
        } => {
            begin(to, 8, 6, *at)?;
            to.u8(2)?.str(user)?;
            to.u8(3)?.bool(*votes)?;
            to.u8(4)?.bytes(raw)?;
            to.u8(5)?.u64(missing.acknowledgements as u64)?;
            encode_names(to.u8(6)?, missing.users.iter())
        }
        Change::UpdateAcknowledged { at, user, missing } => {
            begin(to, 9, 4, *at)?;
            to.u8(2)?.str(user)?;
            to.u8(3)?.u64(missing.acknowledgements as u64)?;
            encode_names(to.u8(4)?, missing.users.iter())
        }
        Change::UpdateCancelled { at, user } => {
            begin(to, 10, 2, *at)?;
            to.u8(2)?.str(user)?.ok()
        }
        Change::UpdateDropped { at } => begin(to, 11, 1, *at),
        Change::UpdateApplied {
            at,
            manifest,
            signature,
            root_secret,
            dropped,
            previous,
        } => {
            begin(to, 12, 6, *at)?;
            to.u8(2)?.bytes(&manifest.raw)?;
            to.u8(3)?.bytes(signature)?;
            to.u8(4)?;
            match root_secret {
                Some(secret) => to.bytes(secret.expose())?.ok()?,
                None => to.null()?.ok()?,
            }
            encode_names(to.u8(5)?, dropped.iter())?;
            let previous = previous.iter().map(|(name, previous)| (name, previous));
            encode_named(to.u8(6)?, previous, encode_previous)
        }
        Change::CounterRaised {
            marble_type,
            uuid,
            name,
            value,
        } => {
            to.u8(13)?.map(4)?;
            to.u8(1)?.str(marble_type)?;
            to.u8(2)?.bytes(uuid.as_bytes())?;
            to.u8(3)?.str(name)?;
            to.u8(4)?.u64(*value)?.ok()
        }
    }
}

/// Kind, number of fields, and the first of them.
fn begin<W: Write>(to: &mut Encoder<W>, kind: u8, fields: u64, at: Timestamp) -> Encoded<W> {
    to.u8(kind)?.map(fields)?.u8(1)?.i64(at.unix_millis())?.ok()
}

/// Reads the fields of a change of this kind.
pub(super) fn decode_update(kind: u64, from: &mut Decoder<'_>) -> Result<Change, Fault> {
    let mut fields = Fields::default();
    let what = match kind {
        5 => "field of SecretsWritten",
        6 => "field of PackagesRaised",
        7 => "field of IntermediateRenewed",
        8 => "field of UpdateProposed",
        9 => "field of UpdateAcknowledged",
        10 => "field of UpdateCancelled",
        11 => "field of UpdateDropped",
        12 => "field of UpdateApplied",
        13 => "field of CounterRaised",
        found => {
            return Err(Fault::Newer {
                what: "kind of change",
                found,
            });
        }
    };
    read_map(from, what, |field, from| fields.read(kind, field, from))?;
    fields.change(kind)
}

/// What was read of a change; each kind has its own.
#[derive(Default)]
struct Fields {
    at: Option<Timestamp>,
    /// A user, or the type of a marble.
    name: Option<Name>,
    written: Option<Written>,
    numbers: Option<Vec<(Name, u64)>>,
    /// Certificates, or a manifest and its signature.
    bytes: [Option<Arc<[u8]>>; 2],
    key: Option<crate::pki::key::PrivateKey>,
    votes: Option<bool>,
    missing: Option<u64>,
    names: Option<Vec<Name>>,
    root_secret: Option<Option<crate::secret::value::SecretBytes>>,
    previous: Option<Vec<(Name, crate::state::PreviousSecret)>>,
    uuid: Option<uuid::Uuid>,
    counter: Option<Name>,
    value: Option<u64>,
}

type Written = Vec<(Name, Option<Arc<crate::secret::value::SecretValue>>)>;

impl Fields {
    /// Reads the value of a field of this kind; `false`: it has no such field.
    fn read(&mut self, kind: u64, field: u64, from: &mut Decoder<'_>) -> Result<bool, Fault> {
        let [first, second] = &mut self.bytes;
        match (kind, field) {
            (5 | 6 | 8..=12, 1) => self.at = Some(Timestamp::from_unix_millis(from.i64()?)),
            (5 | 6 | 8..=10, 2) | (13, 1) => self.name = Some(Name::from(from.str()?)),
            (5, 3) => {
                let list = self.written.insert(Vec::new());
                let value = |from: &mut Decoder<'_>| Ok(read_optional(from, decode_value)?.map(Arc::new));
                decode_named(from, value, |name, value| list.push((name, value)))?;
            }
            (6, 3) => {
                let list = self.numbers.insert(Vec::new());
                decode_named(
                    from,
                    |from| Ok(from.u64()?),
                    |name, number| list.push((name, number)),
                )?;
            }
            (7, 1) | (8, 4) | (12, 2) => *first = Some(bytes(from)?),
            (7, 2) | (12, 3) => *second = Some(bytes(from)?),
            (7, 3) => self.key = Some(private_key(from)?),
            (8, 3) => self.votes = Some(from.bool()?),
            (8, 5) | (9, 3) => self.missing = Some(from.u64()?),
            (8, 6) | (9, 4) | (12, 5) => self.names = Some(decode_names(from)?),
            (12, 4) => self.root_secret = Some(read_optional(from, root_secret)?),
            (12, 6) => {
                let list = self.previous.insert(Vec::new());
                decode_named(from, decode_previous, |name, previous| {
                    list.push((name, previous));
                })?;
            }
            (13, 2) => self.uuid = Some(uuid(from)?),
            (13, 3) => self.counter = Some(Name::from(from.str()?)),
            (13, 4) => self.value = Some(from.u64()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn change(self, kind: u64) -> Result<Change, Fault> {
        let [first, second] = self.bytes;
        let missing = |acknowledgements: Option<u64>, users| {
            Ok::<_, Fault>(Missing {
                acknowledgements: usize::try_from(required(acknowledgements)?).unwrap_or(usize::MAX),
                users: required(users)?,
            })
        };
        Ok(match kind {
            5 => Change::SecretsWritten {
                at: required(self.at)?,
                user: required(self.name)?,
                values: required(self.written)?,
            },
            6 => Change::PackagesRaised {
                at: required(self.at)?,
                user: required(self.name)?,
                versions: required(self.numbers)?,
            },
            7 => Change::IntermediateRenewed {
                intermediate: required(first)?,
                marble_root: required(second)?,
                key: required(self.key)?,
            },
            8 => Change::UpdateProposed {
                at: required(self.at)?,
                user: required(self.name)?,
                votes: required(self.votes)?,
                raw: required(first)?,
                missing: missing(self.missing, self.names)?,
            },
            9 => Change::UpdateAcknowledged {
                at: required(self.at)?,
                user: required(self.name)?,
                missing: missing(self.missing, self.names)?,
            },
            10 => Change::UpdateCancelled {
                at: required(self.at)?,
                user: required(self.name)?,
            },
            11 => Change::UpdateDropped {
                at: required(self.at)?,
            },
            12 => Change::UpdateApplied {
                at: required(self.at)?,
                manifest: compile(required(first)?)?,
                signature: required(second)?,
                root_secret: required(self.root_secret)?,
                dropped: required(self.names)?,
                previous: required(self.previous)?,
            },
            _ => Change::CounterRaised {
                marble_type: required(self.name)?,
                uuid: required(self.uuid)?,
                name: required(self.counter)?,
                value: required(self.value)?,
            },
        })
    }
}
