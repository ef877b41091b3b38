//! Groups of changes in log frames: `[[kind, {field: value, …}], …]`, kinds and fields being numbers that are
//! never used again for anything else.
//!
//! | kind | change | fields |
//! |---|---|---|
//! | 1 | `ManifestSet` | 1 at (milliseconds), 2 raw manifest, 3 signature |
//! | 2 | `DataKeyDrawn` | never in a frame: it is what the header of a new file says |
//! | 3 | `SecretsGenerated` | 1 `[[name, value], …]` |
//! | 4 | `ActivationCounted` | 1 marble type, 2 count |
//! | 5 | `SecretsWritten` | 1 at, 2 user, 3 `[[name, value or null], …]` |
//! | 6 | `PackagesRaised` | 1 at, 2 user, 3 `[[package, version], …]` |
//! | 7 | `IntermediateRenewed` | 1 intermediate, 2 Marble root (DER), 3 their key (PKCS#8) |
//! | 8 | `UpdateProposed` | 1 at, 2 user, 3 whether it counts as acknowledgement, 4 raw manifest, 5 missing acknowledgements, 6 `[missing user, …]` |
//! | 9 | `UpdateAcknowledged` | 1 at, 2 user, 3 missing acknowledgements, 4 `[missing user, …]` |
//! | 10 | `UpdateCancelled` | 1 at, 2 user |
//! | 11 | `UpdateDropped` | 1 at |
//! | 12 | `UpdateApplied` | 1 at, 2 raw manifest, 3 signature, 4 root secret or null, 5 `[dropped secret, …]`, 6 `[[name, [1, value] or [2, root secret]], …]` |
//! | 13 | `CounterRaised` | 1 marble type, 2 UUID (16 bytes), 3 name, 4 value |

use std::num::NonZeroU32;
use std::sync::Arc;

use minicbor::decode::Decoder;
use minicbor::encode::{Encoder, Write};

use super::cbor::{Encode, Encoded, Fault, read_end, read_list, read_map, read_tuple, required};
use super::update_codec::{decode_update, encode_update};
use super::value_codec::{bytes, decode_named, decode_value, encode_named, encode_value};
use super::{FrameSealer, SealedError};
use crate::ambient::{Dice, Timestamp};
use crate::change::Change;
use crate::manifest::{self, Manifest, Name};

impl FrameSealer {
    /// Seals a group of changes that become durable together, in their order.
    ///
    /// # Errors
    /// [`SealedError::NeedsNewFile`] if the group draws a data key or is empty; as [`Self::group`].
    pub fn changes(&mut self, changes: &[Change], dice: &dyn Dice) -> Result<Vec<u8>, SealedError> {
        let group = Group(changes);
        let count = u32::try_from(changes.len()).ok().and_then(NonZeroU32::new);
        let count = count.filter(|_| {
            !changes
                .iter()
                .any(|change| matches!(change, Change::DataKeyDrawn { .. }))
        });
        let count = count.ok_or(SealedError::NeedsNewFile)?;
        self.group(count, group.encoded_length(), |out| group.encode_into(out), dice)
    }
}

/// Changes in order.
pub(super) struct Group<'c>(pub(super) &'c [Change]);

impl Encode for Group<'_> {
    fn encode<W: Write>(&self, to: &mut Encoder<W>) -> Encoded<W> {
        to.array(self.0.len() as u64)?;
        self.0.iter().try_for_each(|change| encode_change(to, change))
    }
}

fn encode_change<W: Write>(to: &mut Encoder<W>, change: &Change) -> Encoded<W> {
    to.array(2)?;
    match change {
        Change::ManifestSet {
            at,
            manifest,
            signature,
        } => {
            to.u8(1)?.map(3)?;
            to.u8(1)?.i64(at.unix_millis())?;
            to.u8(2)?.bytes(&manifest.raw)?;
            to.u8(3)?.bytes(signature)?.ok()
        }
        // Refused before; the number stays reserved.
        Change::DataKeyDrawn { .. } => to.u8(2)?.map(0)?.ok(),
        Change::SecretsGenerated { values } => {
            to.u8(3)?.map(1)?;
            to.u8(1)?;
            let values = values.iter().map(|(name, value)| (name, value));
            encode_named(to, values, |to, value| encode_value(to, value))
        }
        Change::ActivationCounted { marble_type, count } => {
            to.u8(4)?.map(2)?;
            to.u8(1)?.str(marble_type)?;
            to.u8(2)?.u64(*count)?.ok()
        }
        later => encode_update(to, later),
    }
}

/// Reads a group: `apply` gets each change, in order. Answers how many there were.
pub(super) fn decode_group(payload: &[u8], mut apply: impl FnMut(Change)) -> Result<u64, Fault> {
    let mut from = Decoder::new(payload);
    let count = read_list(&mut from, |from| {
        read_tuple(from, 2)?;
        apply(match from.u64()? {
            1 => decode_manifest_set(from)?,
            3 => decode_secrets_generated(from)?,
            4 => decode_activation_counted(from)?,
            kind => decode_update(kind, from)?,
        });
        Ok(())
    })?;
    read_end(&from)?;
    Ok(count)
}

fn decode_manifest_set(from: &mut Decoder<'_>) -> Result<Change, Fault> {
    let (mut at, mut raw, mut signature) = (None, None, None);
    read_map(from, "field of ManifestSet", |key, from| {
        match key {
            1 => at = Some(Timestamp::from_unix_millis(from.i64()?)),
            2 => raw = Some(bytes(from)?),
            3 => signature = Some(bytes(from)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Change::ManifestSet {
        at: required(at)?,
        manifest: compile(required(raw)?)?,
        signature: required(signature)?,
    })
}

fn decode_secrets_generated(from: &mut Decoder<'_>) -> Result<Change, Fault> {
    let mut values = None;
    read_map(from, "field of SecretsGenerated", |key, from| {
        if key != 1 {
            return Ok(false);
        }
        let list: &mut Vec<_> = values.insert(Vec::new());
        decode_named(from, decode_value, |name, value| {
            list.push((name, Arc::new(value)));
        })?;
        Ok(true)
    })?;
    Ok(Change::SecretsGenerated {
        values: required(values)?,
    })
}

fn decode_activation_counted(from: &mut Decoder<'_>) -> Result<Change, Fault> {
    let (mut marble_type, mut count) = (None, None);
    read_map(from, "field of ActivationCounted", |key, from| {
        match key {
            1 => marble_type = Some(Name::from(from.str()?)),
            2 => count = Some(from.u64()?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Change::ActivationCounted {
        marble_type: required(marble_type)?,
        count: required(count)?,
    })
}

/// The manifest a state holds, compiled again from its raw bytes.
pub(super) fn compile(raw: Arc<[u8]>) -> Result<Arc<Manifest>, Fault> {
    manifest::reopen(raw)
        .map(Arc::new)
        .map_err(|error| Fault::Manifest(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Missing;
    use crate::pki::key::PrivateKey;
    use crate::recovery::RecoveryPlan;
    use crate::sealed::{CheckpointSealer, DataKey, Header, StateCipher, StateId};
    use crate::secret::value::{CertificateValue, SecretBytes, SecretValue};
    use crate::state::PreviousSecret;
    use crate::testing::TestDice;

    const MANIFEST: &[u8] = br#"{"Packages":{"p":{"UniqueID":"00"}},"Marbles":{"m":{"Package":"p"}}}"#;

    /// One of each kind, with the bytes it has for ever.
    fn golden() -> Vec<(Change, String)> {
        let secret = |bytes: &[u8]| SecretBytes::copy_from(bytes);
        let certificate = |private| {
            Arc::new(SecretValue::Certificate(CertificateValue {
                certificate: b"\xc0".as_slice().into(),
                public: b"\xc1".as_slice().into(),
                private,
            }))
        };
        vec![
            (
                Change::ManifestSet {
                    at: Timestamp::from_unix_millis(1_795_250_551_650),
                    manifest: compile(MANIFEST.into()).unwrap(),
                    signature: b"\x01\x02".as_slice().into(),
                },
                format!(
                    "8201a3011b000001a1fd457b6202{:02x}{:02x}{}03420102",
                    0x58,
                    68,
                    hex::encode(MANIFEST)
                ),
            ),
            (
                Change::SecretsGenerated {
                    values: vec![
                        ("b".into(), Arc::new(SecretValue::Symmetric(secret(&[1, 2])))),
                        ("a".into(), Arc::new(SecretValue::Plain(secret(&[])))),
                        ("c".into(), certificate(Some(secret(&[3])))),
                        ("d".into(), certificate(None)),
                    ],
                },
                concat!(
                    "8203a10184",
                    "82616282014201",
                    "02",
                    "826161820240",
                    "826163840341c041c14103",
                    "826164840341c041c1f6",
                )
                .to_owned(),
            ),
            (
                Change::ActivationCounted {
                    marble_type: "mar".into(),
                    count: 1000,
                },
                "8204a201636d6172021903e8".to_owned(),
            ),
        ]
        .into_iter()
        .chain(golden_updates())
        .collect()
    }

    /// The same of what users and marbles do.
    fn golden_updates() -> Vec<(Change, String)> {
        let at = Timestamp::from_unix_millis(1_795_250_551_650);
        const AT: &str = "011b000001a1fd457b62";
        let user = || Name::from("bob");
        let missing = |acknowledgements, users: &[&str]| Missing {
            acknowledgements,
            users: users.iter().map(|name| Name::from(*name)).collect(),
        };
        let secret = |bytes: &[u8]| SecretBytes::copy_from(bytes);
        // RFC 8032, section 7.1, test 1, in PKCS#8.
        let key = hex::decode(concat!(
            "302e020100300506032b657004220420",
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
        ))
        .unwrap();
        let manifest = format!("58{:02x}{}", MANIFEST.len(), hex::encode(MANIFEST));
        vec![
            (
                Change::SecretsWritten {
                    at,
                    user: user(),
                    values: vec![
                        ("b".into(), Some(Arc::new(SecretValue::Plain(secret(&[7]))))),
                        ("a".into(), None),
                    ],
                },
                format!("8205a3{AT}0263626f62038282616282024107826161f6"),
            ),
            (
                Change::PackagesRaised {
                    at,
                    user: user(),
                    versions: vec![("p".into(), 5)],
                },
                format!("8206a3{AT}0263626f62038182617005"),
            ),
            (
                Change::IntermediateRenewed {
                    intermediate: b"\x01".as_slice().into(),
                    marble_root: b"\x02".as_slice().into(),
                    key: PrivateKey::from_pkcs8(&key).unwrap(),
                },
                format!("8207a3014101024102035830{}", hex::encode(&key)),
            ),
            (
                Change::UpdateProposed {
                    at,
                    user: user(),
                    votes: true,
                    raw: b"{}".as_slice().into(),
                    missing: missing(1, &["al"]),
                },
                format!("8208a6{AT}0263626f6203f504427b7d0501068162616c"),
            ),
            (
                Change::UpdateAcknowledged {
                    at,
                    user: user(),
                    missing: missing(0, &[]),
                },
                format!("8209a4{AT}0263626f6203000480"),
            ),
            (
                Change::UpdateCancelled { at, user: user() },
                format!("820aa2{AT}0263626f62"),
            ),
            (Change::UpdateDropped { at }, format!("820ba1{AT}")),
            (
                Change::UpdateApplied {
                    at,
                    manifest: compile(MANIFEST.into()).unwrap(),
                    signature: b"\x01\x02".as_slice().into(),
                    root_secret: Some(secret(&[9; 32])),
                    dropped: vec!["x".into()],
                    previous: vec![
                        (
                            "v".into(),
                            PreviousSecret::Value(Arc::new(SecretValue::Symmetric(secret(&[1])))),
                        ),
                        ("r".into(), PreviousSecret::RootSecret(secret(&[8; 32]))),
                    ],
                },
                format!(
                    "820ca6{AT}02{manifest}03420102045820{}05816178068282617682018201410182617282025820{}",
                    "09".repeat(32),
                    "08".repeat(32)
                ),
            ),
            (
                Change::UpdateApplied {
                    at,
                    manifest: compile(MANIFEST.into()).unwrap(),
                    signature: b"".as_slice().into(),
                    root_secret: None,
                    dropped: Vec::new(),
                    previous: Vec::new(),
                },
                format!("820ca6{AT}02{manifest}034004f605800680"),
            ),
            (
                Change::CounterRaised {
                    marble_type: "m".into(),
                    uuid: uuid::Uuid::from_bytes([0x11; 16]),
                    name: "c".into(),
                    value: 1000,
                },
                format!("820da401616d0250{}036163041903e8", "11".repeat(16)),
            ),
        ]
    }

    fn encoded(changes: &[Change]) -> Vec<u8> {
        let group = Group(changes);
        let mut out = vec![0; group.encoded_length()];
        group.encode_into(&mut out).unwrap();
        out
    }

    fn decoded(payload: &[u8]) -> Result<Vec<Change>, Fault> {
        let mut changes = Vec::new();
        let count = decode_group(payload, |change| changes.push(change))?;
        assert_eq!(count, changes.len() as u64);
        Ok(changes)
    }

    #[test]
    fn each_change_has_its_bytes_for_ever() {
        for (change, bytes) in golden() {
            let encoded = encoded(std::slice::from_ref(&change));
            assert_eq!(hex::encode(&encoded), format!("81{bytes}"));
            let changes = decoded(&encoded).unwrap();
            assert_eq!(changes.len(), 1);
            // Changes have no equality; what is written the same is the same.
            assert_eq!(super::tests::encoded(&changes), encoded);
        }
    }

    #[test]
    fn groups_keep_their_order() {
        let changes: Vec<Change> = golden().into_iter().map(|(change, _)| change).rev().collect();
        let bytes = encoded(&changes);
        assert_eq!(encoded(&decoded(&bytes).unwrap()), bytes);
        assert!(matches!(
            decoded(&bytes).unwrap().as_slice(),
            [
                Change::CounterRaised { .. },
                ..,
                Change::ActivationCounted { .. },
                Change::SecretsGenerated { .. },
                Change::ManifestSet { .. }
            ]
        ));
    }

    #[test]
    fn newer_changes_fields_and_values_say_so() {
        for (bytes, what, found) in [
            ("81821863a0", "kind of change", 99),
            ("818202a0", "kind of change", 2),
            ("818204a301616d0201030a", "field of ActivationCounted", 3),
            ("818203a10900", "field of SecretsGenerated", 9),
            ("818201a10900", "field of ManifestSet", 9),
            ("818203a10181826161820540", "kind of secret value", 5),
            ("818205a10400", "field of SecretsWritten", 4),
            ("818206a10400", "field of PackagesRaised", 4),
            ("818207a10400", "field of IntermediateRenewed", 4),
            ("818208a10700", "field of UpdateProposed", 7),
            ("818209a10500", "field of UpdateAcknowledged", 5),
            ("81820aa10300", "field of UpdateCancelled", 3),
            ("81820ba10200", "field of UpdateDropped", 2),
            ("81820ca10700", "field of UpdateApplied", 7),
            ("81820da10500", "field of CounterRaised", 5),
            ("81820ca106818261728203f6", "kind of previous secret", 3),
        ] {
            let error = decoded(&hex::decode(bytes).unwrap()).err();
            assert_eq!(error, Some(Fault::Newer { what, found }), "{bytes}");
        }
    }

    #[test]
    fn malformed_groups_are_refused() {
        for bytes in [
            "",
            "80ff",
            "81",
            "8183040101",
            "818204a101616d",
            "818204a20201016161",
            "818204a2011901000201",
            "818203a1018182616182014103ff",
            "818203a10181826161830141034103",
            "9bffffffffffffffff",
            "818203a1019bffffffffffffffff",
            "818203a101818261615bffffffffffffffff",
            "818205a10263626f62",
            "818206a20100026162",
            "818207a3014101024102034101",
            "81820ca1044109",
            "81820da401616d024111036163041903e8",
            "81820aa0",
        ] {
            let error = decoded(&hex::decode(bytes).unwrap()).err();
            assert!(matches!(error, Some(Fault::Malformed(_))), "{bytes}: {error:?}");
        }
    }

    #[test]
    fn a_new_data_key_and_an_empty_group_are_no_frame() {
        let dice = TestDice::new(1);
        let key = DataKey::generate(StateCipher::Aes128Gcm, &dice);
        let header = Header::new(StateId::generate(&dice), &key, 1, RecoveryPlan::none(), &dice).unwrap();
        let (sealer, _) = CheckpointSealer::start(&header, key.clone(), 1).unwrap();
        let (_, mut sealer) = sealer.last_part(0, |_| Ok(()), &dice).unwrap();
        let counted = Change::ActivationCounted {
            marble_type: "m".into(),
            count: 1,
        };
        let drawn = Change::DataKeyDrawn {
            key_generation: 2,
            key,
            recovery: RecoveryPlan::none(),
        };
        for group in [
            &[][..],
            std::slice::from_ref(&drawn),
            &[counted.clone(), drawn.clone()],
        ] {
            assert_eq!(
                sealer.changes(group, &dice).err(),
                Some(SealedError::NeedsNewFile)
            );
        }
        assert!(sealer.changes(&[counted], &dice).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn hostile_bytes_never_panic(
            at in proptest::prelude::any::<proptest::sample::Index>(),
            noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..30),
        ) {
            let _ = decode_group(&noise, |_| ());
            let changes: Vec<Change> = golden().into_iter().map(|(change, _)| change).collect();
            let mut bytes = encoded(&changes);
            let at = at.index(bytes.len());
            let end = (at + noise.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&noise[..end - at]);
            let _ = decode_group(&bytes, |_| ());
        }
    }
}
