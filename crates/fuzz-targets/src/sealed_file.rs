//! Sealed state: files as they come, and contents from the input, sealed with the key.

use std::num::NonZeroU32;

use marblerun_core::original;
use marblerun_core::recovery::{RecoveryPlan, RecoveryScheme};
use marblerun_core::sealed::{
    CheckpointSealer, DataKey, Header, KeyFile, SealedError, StateId, open_state, root_certificate_hash,
    seal_state,
};
use marblerun_core::secret::value::SecretBytes;
use marblerun_core::testing::TestDice;

use super::cursor::{Cursor, with_mode};

pub const DATA: &[u8] = include_bytes!("../../core/tests/golden/sealed/v1-sealed_data");
const KEY: &[u8] = include_bytes!("../../core/tests/golden/sealed/v1-sealed_key");
const ORIGINAL_SHARED: &[u8] = include_bytes!("../../core/tests/golden/original/xor2-sealed_data.bin");
/// What a state of the original holds.
const ORIGINAL_STATE: &[u8] = include_bytes!("../../core/tests/golden/original/single-state.json");

const FILE: u8 = 0;
const KEY_FILE: u8 = 1;
const CHECKPOINT: u8 = 2;
const OF_THE_ORIGINAL: u8 = 3;
const STATE_OF_THE_ORIGINAL: u8 = 4;

pub fn key() -> DataKey {
    DataKey::from_bytes(SecretBytes::copy_from(&[0xd7; 32])).unwrap()
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    out
}

pub fn fill(bytes: &[u8]) -> impl FnOnce(&mut [u8]) -> Result<(), SealedError> {
    move |out| {
        out.copy_from_slice(bytes);
        Ok(())
    }
}

pub fn run(input: &[u8]) {
    let Some((&mode, rest)) = input.split_first() else {
        return;
    };
    match mode {
        FILE => file(rest),
        KEY_FILE => key_file(rest),
        CHECKPOINT => checkpoint(Cursor(rest)),
        OF_THE_ORIGINAL => of_the_original(rest),
        _ => state_of_the_original(rest),
    }
}

/// Nobody without the key can make a file: what opens is the one there is, whole or without its last changes.
fn file(bytes: &[u8]) {
    let _ = Header::parse(bytes);
    match open_state(bytes, &key()) {
        Ok(opened) => {
            let genuine = open_state(DATA, &key()).unwrap();
            assert!(root_certificate_hash(&opened.state) == root_certificate_hash(&genuine.state));
            assert!(opened.state.position() <= genuine.state.position());
            let kept = usize::try_from(opened.end.end).unwrap_or(usize::MAX);
            assert!(bytes.get(..kept) == DATA.get(..kept), "a forged file opens");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn key_file(bytes: &[u8]) {
    if let Ok(file) = KeyFile::parse(bytes) {
        assert!(file.encode() == bytes, "another file comes back");
        let seal_key = SecretBytes::copy_from(&[0x5e; 16]);
        for generation in file.key_generations() {
            let unwrapped = file.unwrap(&file.state_id(), generation, &seal_key);
            assert!(unwrapped.is_err() || bytes == KEY, "a forged key unwraps");
        }
    }
}

/// A checkpoint, and groups of changes behind it, each with its length and number of changes in front.
fn checkpoint(mut cursor: Cursor<'_>) {
    let dice = TestDice::new(5);
    let id = StateId::from_bytes([2; 32]);
    let plan = RecoveryPlan::from_parts(RecoveryScheme::None, 0, Vec::new()).unwrap();
    let header = Header::new(id, &key(), 1, plan, &dice).unwrap();
    let (sealer, mut file) = CheckpointSealer::start(&header, key(), 1).unwrap();
    let length = usize::from(cursor.u16());
    let body = cursor.take(length);
    let (frame, mut sealer) = sealer.last_part(body.len(), fill(body), &dice).unwrap();
    file.extend(frame);
    while !cursor.0.is_empty() {
        let changes = NonZeroU32::new(u32::from(cursor.byte())).unwrap_or(NonZeroU32::MIN);
        let length = usize::from(cursor.u16());
        let group = cursor.take(length);
        file.extend(sealer.group(changes, group.len(), fill(group), &dice).unwrap());
    }
    opens_the_same(&file);
}

/// What opens is sealed again and opens as the same.
pub fn opens_the_same(file: &[u8]) {
    let opened = match open_state(file, &key()) {
        Ok(opened) => opened.state,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let Some(sealing) = opened.sealing() else {
        return;
    };
    let data_key = sealing.key.clone();
    let (again, _) = seal_state(&opened, StateId::from_bytes([3; 32]), &TestDice::new(6)).unwrap();
    let again = open_state(&again, &data_key).unwrap().state;
    assert!(again.position() == opened.position());
    assert!(root_certificate_hash(&again) == root_certificate_hash(&opened));
    assert!(again.manifest().map(|m| m.fingerprint) == opened.manifest().map(|m| m.fingerprint));
}

fn single() -> RecoveryPlan {
    RecoveryPlan::from_parts(RecoveryScheme::Single, 1, vec![[1; 32]]).unwrap()
}

fn of_the_original(bytes: &[u8]) {
    if original::OriginalHeader::parse(bytes).is_some() {
        let opened = original::open(bytes, &key(), single());
        assert!(opened.is_err(), "a state opens with a key that is not its own");
    }
}

fn state_of_the_original(content: &[u8]) {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    let sealer = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[0xd7; 32]).unwrap());
    let mut sealed = content.to_vec();
    sealer
        .seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut sealed)
        .unwrap();
    let file = [&4_u32.to_le_bytes()[..], b"null", &[0; 12], &sealed].concat();
    match original::open(&file, &key(), single()) {
        Ok(state) => assert!(state.manifest().is_some() || state.sealing().is_none()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut checkpoint = Vec::new();
    for length in [8_u16, 0, 3] {
        checkpoint.extend_from_slice(&length.to_le_bytes());
        checkpoint.extend_from_slice(&[0xa0; 8]);
    }
    vec![
        with_mode(FILE, DATA),
        with_mode(KEY_FILE, KEY),
        with_mode(CHECKPOINT, &checkpoint),
        with_mode(OF_THE_ORIGINAL, ORIGINAL_SHARED),
        with_mode(STATE_OF_THE_ORIGINAL, ORIGINAL_STATE),
        with_mode(STATE_OF_THE_ORIGINAL, br#"{"a": "e30="}"#),
    ]
}
