//! Whole states: a checkpoint in parts of at most 1 MiB, and opening a file with all that follows.
//!
//! A checkpoint is one CBOR map, cut into parts wherever a part is full:
//!
//! | field | value |
//! |---|---|
//! | 1 | number of changes applied |
//! | 2 | key generation |
//! | 3 | recovery: `[scheme, threshold, [share hash, …]]`, numbers as in the header |
//! | 4 | suite: 1 `p256-aes128`, 2 `p384-aes256` |
//! | 5, 6 | root certificate (DER) and its key (PKCS#8) |
//! | 7, 8, 9 | intermediate certificate, Marble root, and their key |
//! | 10 | root secret |
//! | 11 | the deployment: `{1 raw manifest, 2 signature, 3 manifest generation, 4 secrets [[name, [version, value]], …], 5 previous [[name, [1, value] or [2, root secret]], …], 6 activations [[marble type, count], …], 7 update log [line, …]}` |

use std::convert::Infallible;
use std::sync::Arc;

use imbl::{OrdMap, Vector};
use minicbor::decode::Decoder;
use minicbor::encode::{Encoder, Write};
use zeroize::Zeroizing;

use super::cbor::{Encode, Encoded, Fault, read_end, read_list, read_map, read_tuple, required};
use super::change_codec::{compile, decode_group};
use super::header::{scheme_code, scheme_of};
use super::value_codec::{bytes, decode_named, decode_value, encode_named, encode_value, secret};
use super::{
    CheckpointSealer, DataKey, FrameSealer, Header, ReadToEnd, Reader, Record, SealedError, StateId,
};
use crate::ambient::Dice;
use crate::pki::CryptoSuite;
use crate::pki::authority::Authority;
use crate::pki::key::PrivateKey;
use crate::recovery::RecoveryPlan;
use crate::secret::value::SecretBytes;
use crate::state::{Deployment, PreviousSecret, Sealing, State, StoredSecret};

/// The largest part of a checkpoint in bytes.
const PART: usize = 1 << 20;

/// Seals a whole state as a new file, under the data key it holds: the file, and what makes its log frames.
///
/// # Errors
/// [`SealedError::NotSealable`] for a state without a data key; [`SealedError::Crypto`].
pub fn seal_state(
    state: &State,
    state_id: StateId,
    dice: &dyn Dice,
) -> Result<(Vec<u8>, FrameSealer), SealedError> {
    let deployment = state.deployment.as_ref().ok_or(SealedError::NotSealable)?;
    let sealing = deployment.sealing.as_ref().ok_or(SealedError::NotSealable)?;
    let header = Header::new(
        state_id,
        &sealing.key,
        sealing.key_generation,
        sealing.recovery.clone(),
        dice,
    )?;
    let next_change = state.position.saturating_add(1);
    let (sealer, file) = CheckpointSealer::start(&header, sealing.key.clone(), next_change)?;
    let mut parts = Encoder::new(Parts {
        file,
        sealer,
        part: Zeroizing::new(Vec::with_capacity(PART)),
        failed: None,
        dice,
    });
    // What goes wrong with a part is kept there; encoding goes on into nothing.
    let _ = Checkpoint {
        state,
        deployment,
        sealing,
    }
    .encode(&mut parts);
    parts.into_writer().finish()
}

/// SHA-256 of the root certificate of a state, DER: what its key file is bound to.
pub fn root_certificate_hash(state: &State) -> [u8; 32] {
    super::sha256(&[&state.authority.root])
}

/// A state that was opened, with all changes of the file applied.
pub struct OpenedState {
    /// The state.
    pub state: State,
    /// Where and how the file ended, and what makes its next frame.
    pub end: ReadToEnd,
}

/// Opens a file: decrypts it to its end, and applies its changes to its checkpoint. What the header says in
/// clear must be what the checkpoint says.
///
/// # Errors
/// As [`Reader::open`] and [`Reader::read`]; [`SealedError::Corrupt`] for content that is no state;
/// [`SealedError::NewerVersion`] for a kind or field that is not known; [`SealedError::Manifest`].
pub fn open_state(file: &[u8], key: &DataKey) -> Result<OpenedState, SealedError> {
    let mut reader = Reader::open(file, key)?;
    // Never grows, so that no clear bytes are left behind: the clear checkpoint is shorter than the file.
    let mut checkpoint = Zeroizing::new(Vec::with_capacity(file.len()));
    let mut opened: Option<State> = None;
    loop {
        let offset = reader.offset();
        let Some(record) = reader.read()? else { break };
        match record {
            Record::CheckpointPart { payload, last } => {
                checkpoint.extend_from_slice(payload);
                if last {
                    let state = decode_checkpoint(&checkpoint, key).map_err(|fault| fault.at(offset))?;
                    checkpoint = Zeroizing::default();
                    check_header(&state, reader.header()).map_err(|fault| fault.at(offset))?;
                    if state.position.checked_add(1) != Some(reader.next_change()) {
                        let problem = "the checkpoint is not of the position its frames name";
                        return Err(SealedError::Corrupt { offset, problem });
                    }
                    opened = Some(state);
                }
            }
            Record::Group { changes, payload, .. } => {
                let Some(state) = &mut opened else {
                    return Err(SealedError::Corrupt {
                        offset,
                        problem: "changes without a checkpoint",
                    });
                };
                let count = decode_group(payload, |change| state.apply(&change));
                if count.map_err(|fault| fault.at(offset))? != u64::from(changes) {
                    let problem = "a group has not as many changes as its frame says";
                    return Err(SealedError::Corrupt { offset, problem });
                }
            }
        }
    }
    let end = reader.finish()?;
    let problem = "the file holds no checkpoint";
    let state = opened.ok_or(SealedError::Corrupt {
        offset: end.end,
        problem,
    })?;
    Ok(OpenedState { state, end })
}

/// Cuts what is written into parts and seals each.
struct Parts<'d> {
    file: Vec<u8>,
    sealer: CheckpointSealer,
    /// Its capacity is that of a part, so it never grows.
    part: Zeroizing<Vec<u8>>,
    failed: Option<SealedError>,
    dice: &'d dyn Dice,
}

impl Write for Parts<'_> {
    type Error = Infallible;

    fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Infallible> {
        while !bytes.is_empty() && self.failed.is_none() {
            // A full part is sealed only when more follows: the last one is marked.
            if self.part.len() == PART {
                match self.sealer.part(PART, fill(&self.part), self.dice) {
                    Ok(frame) => self.file.extend_from_slice(&frame),
                    Err(error) => self.failed = Some(error),
                }
                self.part.clear();
            }
            let (now, later) = bytes.split_at(bytes.len().min(PART - self.part.len()));
            self.part.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }
}

impl Parts<'_> {
    fn finish(mut self) -> Result<(Vec<u8>, FrameSealer), SealedError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let (frame, sealer) = self
            .sealer
            .last_part(self.part.len(), fill(&self.part), self.dice)?;
        self.file.extend_from_slice(&frame);
        Ok((self.file, sealer))
    }
}

fn fill(part: &[u8]) -> impl FnOnce(&mut [u8]) -> Result<(), SealedError> {
    move |out| {
        out.copy_from_slice(part);
        Ok(())
    }
}

/// A state that can be sealed.
struct Checkpoint<'s> {
    state: &'s State,
    deployment: &'s Deployment,
    sealing: &'s Sealing,
}

impl Encode for Checkpoint<'_> {
    fn encode<W: Write>(&self, to: &mut Encoder<W>) -> Encoded<W> {
        let Self {
            state,
            deployment,
            sealing,
        } = self;
        let (authority, recovery) = (&state.authority, &sealing.recovery);
        to.map(11)?;
        to.u8(1)?.u64(state.position)?;
        to.u8(2)?.u64(sealing.key_generation)?;
        to.u8(3)?
            .array(3)?
            .u8(scheme_code(recovery.scheme()))?
            .u64(recovery.threshold() as u64)?;
        to.array(recovery.shares() as u64)?;
        for hash in recovery.share_hashes() {
            to.bytes(hash)?;
        }
        to.u8(4)?.u8(match authority.suite {
            CryptoSuite::P256Aes128 => 1,
            CryptoSuite::P384Aes256 => 2,
        })?;
        to.u8(5)?.bytes(&authority.root)?;
        to.u8(6)?.bytes(authority.root_key.pkcs8().expose())?;
        to.u8(7)?.bytes(&authority.intermediate)?;
        to.u8(8)?.bytes(&authority.marble_root)?;
        to.u8(9)?.bytes(authority.intermediate_key.pkcs8().expose())?;
        to.u8(10)?.bytes(state.root_secret.expose())?;
        encode_deployment(to.u8(11)?, deployment)
    }
}

fn encode_deployment<W: Write>(to: &mut Encoder<W>, deployment: &Deployment) -> Encoded<W> {
    to.map(7)?;
    to.u8(1)?.bytes(&deployment.manifest.raw)?;
    to.u8(2)?.bytes(&deployment.signature)?;
    to.u8(3)?.u64(deployment.manifest_generation)?;
    to.u8(4)?;
    encode_named(to, deployment.secrets.iter(), |to, stored| {
        to.array(2)?.u64(stored.version)?;
        encode_value(to, &stored.value)
    })?;
    to.u8(5)?;
    encode_named(to, deployment.previous.iter(), |to, previous| match previous {
        PreviousSecret::Value(value) => encode_value(to.array(2)?.u8(1)?, value),
        PreviousSecret::RootSecret(secret) => to.array(2)?.u8(2)?.bytes(secret.expose())?.ok(),
    })?;
    to.u8(6)?;
    encode_named(to, deployment.activations.iter(), |to, count| {
        to.u64(*count)?.ok()
    })?;
    to.u8(7)?.array(deployment.update_log.len() as u64)?;
    deployment
        .update_log
        .iter()
        .try_for_each(|line| to.str(line)?.ok())
}

fn decode_checkpoint(payload: &[u8], key: &DataKey) -> Result<State, Fault> {
    let mut from = Decoder::new(payload);
    let (mut position, mut key_generation, mut recovery, mut suite) = (None, None, None, None);
    let (mut root, mut root_key, mut intermediate) = (None, None, None);
    let (mut marble_root, mut intermediate_key, mut root_secret) = (None, None, None);
    let mut deployment = None;
    read_map(&mut from, "field of the checkpoint", |field, from| {
        match field {
            1 => position = Some(from.u64()?),
            2 => key_generation = Some(from.u64()?),
            3 => recovery = Some(decode_recovery(from)?),
            4 => {
                suite = Some(match from.u64()? {
                    1 => CryptoSuite::P256Aes128,
                    2 => CryptoSuite::P384Aes256,
                    found => return Err(Fault::Newer { what: "suite", found }),
                });
            }
            5 => root = Some(bytes(from)?),
            6 => root_key = Some(private_key(from)?),
            7 => intermediate = Some(bytes(from)?),
            8 => marble_root = Some(bytes(from)?),
            9 => intermediate_key = Some(private_key(from)?),
            10 => root_secret = Some(secret(from)?),
            11 => deployment = Some(decode_deployment(from)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    read_end(&from)?;
    let authority = Authority {
        suite: required(suite)?,
        root: required(root)?,
        root_key: required(root_key)?,
        intermediate: required(intermediate)?,
        marble_root: required(marble_root)?,
        intermediate_key: required(intermediate_key)?,
    };
    let sealing = Sealing {
        key_generation: required(key_generation)?,
        key: key.clone(),
        recovery: required(recovery)?,
    };
    if key.bytes().len() != authority.suite.data_key_length() {
        return Err(Fault::Malformed("the data key does not fit the suite"));
    }
    let root_secret: SecretBytes = required(root_secret)?;
    if root_secret.len() != 32 {
        return Err(Fault::Malformed("the root secret has not 32 bytes"));
    }
    let deployment = Deployment {
        sealing: Some(sealing),
        ..required(deployment)?
    };
    Ok(State {
        position: required(position)?,
        authority: Arc::new(authority),
        root_secret,
        recovering: false,
        deployment: Some(deployment),
    })
}

fn decode_deployment(from: &mut Decoder<'_>) -> Result<Deployment, Fault> {
    let (mut manifest, mut signature, mut manifest_generation) = (None, None, None);
    let (mut secrets, mut previous) = (OrdMap::new(), OrdMap::new());
    let (mut activations, mut update_log) = (OrdMap::new(), Vector::new());
    read_map(from, "field of the deployment", |field, from| {
        match field {
            1 => manifest = Some(compile(bytes(from)?)?),
            2 => signature = Some(bytes(from)?),
            3 => manifest_generation = Some(from.u64()?),
            4 => decode_named(from, stored_secret, |name, stored| {
                secrets.insert(name, stored);
            })?,
            5 => decode_named(from, previous_secret, |name, secret| {
                previous.insert(name, secret);
            })?,
            6 => decode_named(
                from,
                |from| Ok(from.u64()?),
                |name, count| {
                    activations.insert(name, count);
                },
            )?,
            7 => {
                read_list(from, |from| {
                    update_log.push_back(Arc::from(from.str()?));
                    Ok(())
                })?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Deployment {
        manifest: required(manifest)?,
        signature: required(signature)?,
        manifest_generation: required(manifest_generation)?,
        sealing: None,
        secrets,
        previous,
        activations,
        update_log,
    })
}

fn stored_secret(from: &mut Decoder<'_>) -> Result<StoredSecret, Fault> {
    read_tuple(from, 2)?;
    let version = from.u64()?;
    Ok(StoredSecret {
        value: Arc::new(decode_value(from)?),
        version,
    })
}

fn previous_secret(from: &mut Decoder<'_>) -> Result<PreviousSecret, Fault> {
    read_tuple(from, 2)?;
    match from.u64()? {
        1 => Ok(PreviousSecret::Value(Arc::new(decode_value(from)?))),
        2 => Ok(PreviousSecret::RootSecret(secret(from)?)),
        found => Err(Fault::Newer {
            what: "kind of previous secret",
            found,
        }),
    }
}

fn decode_recovery(from: &mut Decoder<'_>) -> Result<RecoveryPlan, Fault> {
    read_tuple(from, 3)?;
    let scheme = from.u64()?;
    let scheme = u8::try_from(scheme)
        .ok()
        .and_then(scheme_of)
        .ok_or(Fault::Newer {
            what: "recovery scheme",
            found: scheme,
        })?;
    let threshold = usize::try_from(from.u64()?).unwrap_or(usize::MAX);
    let mut hashes = Vec::new();
    read_list(from, |from| {
        let hash = from.bytes()?.try_into();
        hashes.push(hash.map_err(|_| Fault::Malformed("a share hash has not 32 bytes"))?);
        Ok(())
    })?;
    RecoveryPlan::from_parts(scheme, threshold, hashes)
        .ok_or(Fault::Malformed("the recovery scheme does not fit its shares"))
}

/// A key of the authority, with exactly the bytes it had: parsing alone may write them in another form.
fn private_key(from: &mut Decoder<'_>) -> Result<PrivateKey, Fault> {
    let der = from.bytes()?;
    let parsed =
        PrivateKey::from_pkcs8(der).map_err(|_| Fault::Malformed("a key of the authority is not one"))?;
    let public = Arc::clone(parsed.public());
    Ok(PrivateKey::from_parts(
        parsed.kind(),
        SecretBytes::copy_from(der),
        public,
    ))
}

/// The header is authenticated by its frames, for whoever has the data key; that its maker meant the same state
/// is checked here.
fn check_header(state: &State, header: &Header) -> Result<(), Fault> {
    let agrees = state.sealing().is_some_and(|sealing| {
        sealing.key_generation == header.key_generation && sealing.recovery == header.recovery
    });
    if agrees {
        Ok(())
    } else {
        Err(Fault::Malformed(
            "recovery scheme, shares or key generation are not those of the header",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Change;
    use crate::manifest::Name;
    use crate::pki::authority;
    use crate::recovery::RecoveryScheme;
    use crate::sealed::sha256;
    use crate::secret::value::{CertificateValue, SecretValue};
    use crate::testing::{NOW, TestDice};

    const MANIFEST: &str = r#"{
        "Packages": {"p": {"UniqueID": "0000000000000000000000000000000000000000000000000000000000000000"}},
        "Marbles": {"m": {"Package": "p", "MaxActivations": 2}}
    }"#;
    const ID: StateId = StateId::from_bytes([7; 32]);

    fn symmetric(bytes: &[u8]) -> Arc<SecretValue> {
        Arc::new(SecretValue::Symmetric(SecretBytes::copy_from(bytes)))
    }

    fn certificate(private: Option<&[u8]>) -> Arc<SecretValue> {
        Arc::new(SecretValue::Certificate(CertificateValue {
            certificate: b"certificate".as_slice().into(),
            public: b"public".as_slice().into(),
            private: private.map(SecretBytes::copy_from),
        }))
    }

    /// A state in which every kind of content occurs.
    fn state(suite: CryptoSuite, extra_secrets: usize) -> State {
        let dice = TestDice::new(1);
        let authority = authority::create(suite, &[], None, &dice.ambient()).unwrap();
        let mut state = State::begin(authority, SecretBytes::copy_from(&[9; 32]), false);
        let hashes = vec![sha256(&[b"one"]), sha256(&[b"two"])];
        let mut values: Vec<(Name, Arc<SecretValue>)> = vec![
            ("symmetric".into(), symmetric(b"sixteen bytes...")),
            ("certificate".into(), certificate(Some(b"private"))),
            ("public only".into(), certificate(None)),
            (
                "plain".into(),
                Arc::new(SecretValue::Plain(SecretBytes::copy_from(b""))),
            ),
        ];
        for number in 0..extra_secrets {
            values.push((format!("secret {number}").into(), symmetric(&[5; 100])));
        }
        for change in [
            Change::ManifestSet {
                at: NOW,
                manifest: compile(MANIFEST.as_bytes().into()).unwrap(),
                signature: b"signature".as_slice().into(),
            },
            Change::DataKeyDrawn {
                key_generation: 3,
                key: DataKey::from_bytes(SecretBytes::fill_with(suite.data_key_length(), |_| ())).unwrap(),
                recovery: RecoveryPlan::from_parts(RecoveryScheme::Xor, 2, hashes).unwrap(),
            },
            Change::SecretsGenerated { values },
            Change::ActivationCounted {
                marble_type: "m".into(),
                count: 1,
            },
        ] {
            state.apply(&change);
        }
        let deployment = state.deployment.as_mut().unwrap();
        let previous = PreviousSecret::Value(symmetric(b"previous"));
        deployment.previous.insert("symmetric".into(), previous);
        let root_secret = PreviousSecret::RootSecret(SecretBytes::copy_from(&[8; 32]));
        deployment.previous.insert("private".into(), root_secret);
        state
    }

    fn encoded(state: &State) -> Vec<u8> {
        let (deployment, sealing) = (state.deployment.as_ref().unwrap(), state.sealing().unwrap());
        let checkpoint = Checkpoint {
            state,
            deployment,
            sealing,
        };
        let mut out = vec![0; checkpoint.encoded_length()];
        checkpoint.encode_into(&mut out).unwrap();
        out
    }

    fn key(state: &State) -> DataKey {
        state.sealing().unwrap().key.clone()
    }

    #[test]
    fn states_come_back_whole() {
        for suite in CryptoSuite::ALL {
            let state = state(suite, 10);
            let (file, sealer) = seal_state(&state, ID, &TestDice::new(2)).unwrap();
            assert_eq!(sealer.next_change(), 5);
            let opened = open_state(&file, &key(&state)).unwrap();
            assert!(encoded(&opened.state) == encoded(&state));
            assert_eq!(opened.end.header.state_id, ID);
            assert_eq!(opened.end.sealer.next_change(), 5);
            assert_eq!(opened.state.position(), 4);
            assert_eq!(opened.state.authority().suite, suite);
            assert_eq!(opened.state.secret_version("symmetric"), 3);
            assert_eq!(opened.state.activations("m"), 1);
            assert_eq!(opened.state.manifest().unwrap().raw.as_ref(), MANIFEST.as_bytes());
        }
    }

    #[test]
    fn changes_behind_the_checkpoint_are_applied() {
        let dice = TestDice::new(2);
        let mut state = state(CryptoSuite::P256Aes128, 0);
        let (mut file, mut sealer) = seal_state(&state, ID, &dice).unwrap();
        for count in 2..5 {
            let changes = [
                Change::ActivationCounted {
                    marble_type: "m".into(),
                    count,
                },
                Change::SecretsGenerated {
                    values: vec![("more".into(), symmetric(&[count as u8]))],
                },
            ];
            changes.iter().for_each(|change| state.apply(change));
            file.extend(sealer.changes(&changes, &dice).unwrap());
        }
        let opened = open_state(&file, &key(&state)).unwrap();
        assert!(encoded(&opened.state) == encoded(&state));
        assert_eq!(opened.state.position(), 10);
    }

    #[test]
    fn large_states_are_cut_into_parts() {
        let state = state(CryptoSuite::P256Aes128, 30_000);
        let (file, _) = seal_state(&state, ID, &TestDice::new(2)).unwrap();
        let mut reader = Reader::open(&file, &key(&state)).unwrap();
        let mut lengths = Vec::new();
        while let Some(record) = reader.read().unwrap() {
            let Record::CheckpointPart { payload, last } = record else {
                panic!("a group")
            };
            lengths.push((payload.len(), last));
        }
        let (last, others) = lengths.split_last().unwrap();
        assert!(
            others.len() >= 3 && others.iter().all(|part| *part == (PART, false)),
            "{lengths:?}"
        );
        assert!(last.1 && last.0 <= PART);
        let opened = open_state(&file, &key(&state)).unwrap();
        assert!(encoded(&opened.state) == encoded(&state));
    }

    #[test]
    fn a_part_that_is_just_full_is_the_last() {
        let dice = TestDice::new(2);
        let state = state(CryptoSuite::P256Aes128, 0);
        let sealing = state.sealing().unwrap();
        for (length, expected) in [(PART, 1), (PART + 1, 2), (2 * PART, 2), (0, 1)] {
            let header = Header::new(
                ID,
                &sealing.key,
                sealing.key_generation,
                sealing.recovery.clone(),
                &dice,
            );
            let (sealer, file) = CheckpointSealer::start(&header.unwrap(), sealing.key.clone(), 1).unwrap();
            let part = Zeroizing::new(Vec::with_capacity(PART));
            let mut parts = Parts {
                file,
                sealer,
                part,
                failed: None,
                dice: &dice,
            };
            let _ = parts.write_all(&vec![1; length]);
            let (file, _) = parts.finish().unwrap();
            let mut reader = Reader::open(&file, &sealing.key).unwrap();
            let mut count = 0;
            while reader.read().unwrap().is_some() {
                count += 1;
            }
            assert_eq!(count, expected);
            reader.finish().unwrap();
        }
    }

    #[test]
    fn a_state_without_a_manifest_is_not_sealed() {
        let dice = TestDice::new(1);
        let authority = authority::create(CryptoSuite::P256Aes128, &[], None, &dice.ambient()).unwrap();
        let state = State::begin(authority, SecretBytes::copy_from(&[9; 32]), false);
        assert_eq!(
            seal_state(&state, ID, &dice).err(),
            Some(SealedError::NotSealable)
        );
    }

    #[test]
    fn secrets_are_not_in_clear_in_the_file() {
        let state = state(CryptoSuite::P256Aes128, 0);
        let (file, _) = seal_state(&state, ID, &TestDice::new(2)).unwrap();
        for secret in [
            &b"sixteen bytes..."[..],
            b"previous",
            &[9; 32],
            &[8; 32],
            b"MaxActivations",
        ] {
            assert!(!file.windows(secret.len()).any(|window| window == secret));
        }
    }

    /// Seals any payload as the checkpoint of a file whose header is that of `state`.
    fn sealed_payload(state: &State, header: impl FnOnce(&mut Header), next: u64, payload: &[u8]) -> Vec<u8> {
        let dice = TestDice::new(3);
        let sealing = state.sealing().unwrap();
        let mut made = Header::new(
            ID,
            &sealing.key,
            sealing.key_generation,
            sealing.recovery.clone(),
            &dice,
        )
        .unwrap();
        header(&mut made);
        let (sealer, mut file) = CheckpointSealer::start(&made, sealing.key.clone(), next).unwrap();
        file.extend(sealer.last_part(payload.len(), fill(payload), &dice).unwrap().0);
        file
    }

    #[test]
    fn a_header_that_is_not_that_of_the_state_is_refused() {
        let state = state(CryptoSuite::P256Aes128, 0);
        let payload = encoded(&state);
        let open = |file: &[u8]| open_state(file, &key(&state)).map(|_| ()).err();
        assert_eq!(open(&sealed_payload(&state, |_| (), 5, &payload)), None);
        let corrupt = |error| matches!(error, Some(SealedError::Corrupt { .. }));
        assert!(corrupt(open(&sealed_payload(
            &state,
            |header| header.key_generation = 2,
            5,
            &payload
        ))));
        let none = |header: &mut Header| header.recovery = RecoveryPlan::none();
        assert!(corrupt(open(&sealed_payload(&state, none, 5, &payload))));
        for next in [0, 4, 6, u64::MAX] {
            assert!(corrupt(open(&sealed_payload(&state, |_| (), next, &payload))));
        }
    }

    #[test]
    fn newer_content_says_so() {
        let state = state(CryptoSuite::P256Aes128, 0);
        let payload = encoded(&state);
        // One more field at the end: 12.
        let mut more = payload.clone();
        more[0] += 1;
        more.extend([12, 0]);
        let error = open_state(&sealed_payload(&state, |_| (), 5, &more), &key(&state)).err();
        assert_eq!(
            error,
            Some(SealedError::NewerVersion {
                what: "field of the checkpoint",
                found: 12
            })
        );
    }

    #[test]
    fn a_manifest_that_does_not_compile_is_refused_with_its_reason() {
        let state = state(CryptoSuite::P256Aes128, 0);
        let at = encoded(&state)
            .windows(8)
            .position(|window| window == b"Packages")
            .unwrap();
        let mut payload = encoded(&state);
        payload[at] = b'X';
        let error = open_state(&sealed_payload(&state, |_| (), 5, &payload), &key(&state))
            .err()
            .unwrap();
        assert!(
            matches!(&error, SealedError::Manifest { reason, .. } if reason.contains("Packages")),
            "{error}"
        );
    }

    proptest::proptest! {
        #[test]
        fn hostile_payloads_never_panic(
            at in proptest::prelude::any::<proptest::sample::Index>(),
            noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..20),
            cut in proptest::prelude::any::<bool>(),
        ) {
            thread_local! {
                static STATE: State = state(CryptoSuite::P256Aes128, 1);
            }
            STATE.with(|state| {
                let mut payload = encoded(state);
                let at = at.index(payload.len());
                if cut {
                    payload.truncate(at);
                }
                payload.splice(at..(at + noise.len()).min(payload.len()).max(at), noise);
                let _ = decode_checkpoint(&payload, &key(state));
            });
        }
    }
}
