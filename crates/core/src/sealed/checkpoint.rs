//! Whole states: a checkpoint in parts of at most 1 MiB, and opening a file with all that follows.

use std::convert::Infallible;

use minicbor::encode::{Encoder, Write};
use zeroize::Zeroizing;

use super::cbor::Encode as _;
use super::change_codec::decode_group;
use super::state_codec::{Checkpoint, check_header, decode_checkpoint};
use super::{
    CheckpointSealer, DataKey, FrameSealer, Header, ReadToEnd, Reader, Record, SealedError, StateId,
};
use crate::ambient::Dice;
use crate::state::State;

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
    let mut file = Vec::new();
    let sealer = seal_state_in_parts(state, state_id, dice, |bytes| {
        file.extend_from_slice(bytes);
        Ok::<_, SealedError>(())
    })?;
    Ok((file, sealer))
}

/// Seals a whole state as [`seal_state`] does, and gives the file to `write` a piece of at most about 1 MiB at a
/// time, in order. When `write` fails, nothing more is sealed.
///
/// # Errors
/// As [`seal_state`], and what `write` answers.
pub fn seal_state_in_parts<E: From<SealedError>>(
    state: &State,
    state_id: StateId,
    dice: &dyn Dice,
    mut write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<FrameSealer, E> {
    let deployment = state.deployment.as_ref().ok_or(SealedError::NotSealable)?;
    let sealing = deployment.sealing.as_ref().ok_or(SealedError::NotSealable)?;
    let header = Header::new(
        state_id,
        &sealing.key,
        sealing.key_generation,
        sealing.recovery.clone(),
        dice,
    )
    .map_err(SealedError::from)?;
    let next_change = state.position.saturating_add(1);
    let (sealer, clear) = CheckpointSealer::start(&header, sealing.key.clone(), next_change)?;
    write(&clear)?;
    let mut parts = Encoder::new(Parts {
        write,
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
struct Parts<'d, W, E> {
    write: W,
    sealer: CheckpointSealer,
    /// Its capacity is that of a part, so it never grows.
    part: Zeroizing<Vec<u8>>,
    failed: Option<E>,
    dice: &'d dyn Dice,
}

impl<W: FnMut(&[u8]) -> Result<(), E>, E: From<SealedError>> Write for Parts<'_, W, E> {
    type Error = Infallible;

    fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Infallible> {
        while !bytes.is_empty() && self.failed.is_none() {
            // A full part is sealed only when more follows: the last one is marked.
            if self.part.len() == PART {
                let sealed = self.sealer.part(PART, fill(&self.part), self.dice);
                let written = sealed.map_err(E::from).and_then(|frame| (self.write)(&frame));
                self.failed = written.err();
                self.part.clear();
            }
            let (now, later) = bytes.split_at(bytes.len().min(PART - self.part.len()));
            self.part.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }
}

impl<W: FnMut(&[u8]) -> Result<(), E>, E: From<SealedError>> Parts<'_, W, E> {
    fn finish(mut self) -> Result<FrameSealer, E> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let (frame, sealer) = self
            .sealer
            .last_part(self.part.len(), fill(&self.part), self.dice)?;
        (self.write)(&frame)?;
        Ok(sealer)
    }
}

fn fill(part: &[u8]) -> impl FnOnce(&mut [u8]) -> Result<(), SealedError> {
    move |out| {
        out.copy_from_slice(part);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::change::Change;
    use crate::manifest::Name;
    use crate::pki::{CryptoSuite, authority};
    use crate::recovery::{RecoveryPlan, RecoveryScheme};
    use crate::sealed::change_codec::compile;
    use crate::sealed::sha256;
    use crate::secret::value::{CertificateValue, SecretBytes, SecretValue};
    use crate::state::PreviousSecret;
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
            let (sealer, mut file) =
                CheckpointSealer::start(&header.unwrap(), sealing.key.clone(), 1).unwrap();
            let part = Zeroizing::new(Vec::with_capacity(PART));
            let mut parts = Parts {
                write: |bytes: &[u8]| {
                    file.extend_from_slice(bytes);
                    Ok::<_, SealedError>(())
                },
                sealer,
                part,
                failed: None,
                dice: &dice,
            };
            let _ = parts.write_all(&vec![1; length]);
            parts.finish().unwrap();
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
    fn what_cannot_be_written_ends_the_sealing() {
        #[derive(Debug, PartialEq)]
        struct Full;
        impl From<SealedError> for Full {
            fn from(error: SealedError) -> Self {
                panic!("{error}")
            }
        }
        // About two parts: the header, two frames.
        let large = state(CryptoSuite::P256Aes128, 15_000);
        for fails_at in 0..=4 {
            let mut written = 0;
            let sealed = seal_state_in_parts(&large, ID, &TestDice::new(3), |bytes| {
                assert!(written <= fails_at, "something is written behind what failed");
                assert!(bytes.len() < PART + 200);
                written += 1;
                if written > fails_at { Err(Full) } else { Ok(()) }
            });
            match sealed {
                Ok(_) => assert!(fails_at >= written && written >= 3, "{written}"),
                Err(error) => assert_eq!(error, Full),
            }
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
