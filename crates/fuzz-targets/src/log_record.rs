//! Groups of changes in the log of a sealed state, with contents from the input, sealed behind a genuine file.

use std::num::NonZeroU32;

use marblerun_core::sealed::open_state;
use marblerun_core::testing::TestDice;

use super::cursor::with_mode;
use super::sealed_file::{DATA, fill, key, opens_the_same};

/// How many changes the group says it has (first byte), then the group.
pub fn run(input: &[u8]) {
    let Some((&changes, group)) = input.split_first() else {
        return;
    };
    let changes = NonZeroU32::new(u32::from(changes)).unwrap_or(NonZeroU32::MIN);
    let mut sealer = open_state(DATA, &key()).unwrap().end.sealer;
    let frame = sealer
        .group(changes, group.len(), fill(group), &TestDice::new(9))
        .unwrap();
    opens_the_same(&[DATA, &frame].concat());
}

/// Groups in CBOR, by the numbers of `docs/state-format.md`.
pub fn seeds() -> Vec<Vec<u8>> {
    let text = |text: &str| {
        let mut bytes = vec![0x60 | u8::try_from(text.len()).unwrap_or(0)];
        bytes.extend_from_slice(text.as_bytes());
        bytes
    };
    let change = |number: u8, fields: &[(u8, Vec<u8>)]| {
        let mut bytes = vec![0x82, number, 0xa0 | u8::try_from(fields.len()).unwrap_or(0)];
        for (key, value) in fields {
            bytes.push(*key);
            bytes.extend_from_slice(value);
        }
        bytes
    };
    let counted = change(4, &[(1, text("backend")), (2, vec![3])]);
    let at = vec![0x1b, 0, 0, 1, 0x9b, 0, 0, 0, 0];
    let raised = change(
        6,
        &[
            (1, at.clone()),
            (2, text("alice")),
            (3, [vec![0x81, 0x82], text("backend"), vec![9]].concat()),
        ],
    );
    let cancelled = change(10, &[(1, at.clone()), (2, text("alice"))]);
    let counter = change(
        13,
        &[
            (1, text("backend")),
            (2, [vec![0x50], vec![7; 16]].concat()),
            (3, text("name")),
            (4, vec![5]),
        ],
    );
    let group = |changes: &[&Vec<u8>]| {
        let count = u8::try_from(changes.len()).unwrap_or(0);
        let mut bytes = vec![0x80 | count];
        changes.iter().for_each(|change| bytes.extend_from_slice(change));
        with_mode(count, &bytes)
    };
    vec![
        group(&[&counted]),
        group(&[&raised]),
        group(&[&cancelled]),
        group(&[&counter]),
        group(&[&counted, &raised, &counter]),
    ]
}
