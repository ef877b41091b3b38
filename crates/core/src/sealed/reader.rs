//! Walking a sealed file, and telling what a crash leaves behind from what nothing of ours leaves behind.
//!
//! A frame is appended only after the one before it is durable. So a crash can damage the last frame alone,
//! and nothing of this file can stand behind the damage. Each frame begins with a marker and a checksum bound
//! to the header of the file; whatever of it is found behind a damaged frame proves that the damaged frame had
//! once been whole and acknowledged. No key of a damaged frame is needed for that, and the search reads every
//! byte once.

use zeroize::Zeroizing;

use super::frame::{
    CHECKPOINT_PART, Chain, GROUP, LAST_CHECKPOINT_PART, MARKER, MAX_FRAME_PAYLOAD, PRELUDE, Prelude, TAG,
};
use super::{DataKey, FrameSealer, Header, MAX_FILE_BYTES, SealedError};

/// Reads a sealed file from its first byte to its last.
pub struct Reader<'f> {
    file: &'f [u8],
    header: Header,
    chain: Chain,
    offset: usize,
    /// Where the log part begins, once the checkpoint is complete.
    log_start: Option<usize>,
    torn: Option<TornTail>,
    payload: Zeroizing<Vec<u8>>,
}

/// One verified and decrypted frame.
pub enum Record<'r> {
    /// A part of the checkpoint; all come before the first group.
    CheckpointPart {
        /// The clear payload.
        payload: &'r [u8],
        /// Whether this is the last part.
        last: bool,
    },
    /// A group of changes that became durable together.
    Group {
        /// The number of the first of them.
        first_change: u64,
        /// How many there are; at least one.
        changes: u32,
        /// The clear payload.
        payload: &'r [u8],
    },
}

/// The end of a file that was being written when the machine stopped: an append nobody was told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TornTail {
    /// Where the file has to be cut, in bytes.
    pub offset: u64,
    /// How many bytes there are from there to the end.
    pub length: u64,
}

impl<'f> Reader<'f> {
    /// Reads the header and checks the key against it.
    ///
    /// # Errors
    /// As [`Header::parse`] and [`Header::check_key`], and [`SealedError::TooLarge`].
    pub fn open(file: &'f [u8], key: &DataKey) -> Result<Self, SealedError> {
        if file.len() as u64 > MAX_FILE_BYTES {
            let size = file.len() as u64;
            return Err(SealedError::TooLarge {
                what: "the state",
                size,
                limit: MAX_FILE_BYTES,
            });
        }
        let (header, offset) = Header::parse(file)?;
        header.check_key(key)?;
        // The first frame names the position of the checkpoint; its tag covers that.
        let chain = Chain::new(&header, file.get(..offset).unwrap_or_default(), key.clone(), 0);
        Ok(Self {
            file,
            header,
            chain,
            offset,
            log_start: None,
            torn: None,
            payload: Zeroizing::default(),
        })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The number of the first change after what was read so far.
    pub fn next_change(&self) -> u64 {
        self.chain.next_change
    }

    /// Offset of the next frame in the file, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset as u64
    }

    /// Reads the next frame; `None` at the end of the file or of what is whole in it.
    ///
    /// # Errors
    /// [`SealedError::Corrupt`] with the offset of the frame; [`SealedError::NewerVersion`] for a kind of frame
    /// that is not known; [`SealedError::Crypto`].
    pub fn read(&mut self) -> Result<Option<Record<'_>>, SealedError> {
        let rest = self.file.get(self.offset..).unwrap_or_default();
        if self.torn.is_some() {
            return Ok(None);
        }
        if rest.is_empty() {
            return match self.log_start {
                Some(_) => Ok(None),
                None => Err(self.corrupt("the file ends inside the checkpoint")),
            };
        }
        let Some(prelude) = Prelude::parse(rest, &self.chain.header_hash) else {
            return self.damaged_prelude(rest);
        };
        self.check_place(&prelude)?;
        let length = prelude.length as usize;
        let Some(sealed) = rest.get(PRELUDE..PRELUDE + length) else {
            return self.cut("the file ends inside a frame of the checkpoint");
        };
        let Some(tag) = sealed.last_chunk::<TAG>() else {
            return Err(self.corrupt("a frame is too short"));
        };
        if !self.chain.unseal(&prelude, sealed, &mut self.payload)? {
            if rest.len() > PRELUDE + length {
                return Err(self.corrupt("a frame that others follow does not verify"));
            }
            return self.cut("a frame of the checkpoint does not verify");
        }
        self.offset += PRELUDE + length;
        self.chain.follow(&prelude, *tag);
        if prelude.kind == GROUP {
            return Ok(Some(Record::Group {
                first_change: prelude.first_change,
                changes: prelude.changes,
                payload: &self.payload,
            }));
        }
        let last = prelude.kind == LAST_CHECKPOINT_PART;
        if last {
            self.log_start = Some(self.offset);
        }
        Ok(Some(Record::CheckpointPart {
            payload: &self.payload,
            last,
        }))
    }

    /// After [`Self::read`] answered `None`: what comes next in this file, and how it ended.
    ///
    /// # Errors
    /// [`SealedError::Corrupt`] if not all was read.
    pub fn finish(self) -> Result<ReadToEnd, SealedError> {
        let Some(log_start) = self
            .log_start
            .filter(|_| self.torn.is_some() || self.offset == self.file.len())
        else {
            return Err(self.corrupt("the file was not read to its end"));
        };
        Ok(ReadToEnd {
            header: self.header,
            sealer: FrameSealer(self.chain),
            checkpoint_end: log_start as u64,
            end: self.offset as u64,
            torn: self.torn,
        })
    }

    /// What an intact prelude says must be what belongs here.
    fn check_place(&self, prelude: &Prelude) -> Result<(), SealedError> {
        let in_checkpoint = self.log_start.is_none();
        match (prelude.kind, in_checkpoint) {
            (CHECKPOINT_PART | LAST_CHECKPOINT_PART, true) if prelude.changes == 0 => {}
            (GROUP, false) if prelude.changes > 0 => {}
            (CHECKPOINT_PART | LAST_CHECKPOINT_PART | GROUP, _) => {
                return Err(self.corrupt("a frame of this kind does not belong here"));
            }
            (other, _) => {
                return Err(SealedError::NewerVersion {
                    what: "kind of frame",
                    found: other.into(),
                });
            }
        }
        let first = self.chain.number == 0;
        if prelude.number != self.chain.number || prelude.previous_tag != self.chain.previous_tag {
            return Err(self.corrupt("a frame is missing, repeated or moved"));
        }
        if !first && prelude.first_change != self.chain.next_change {
            return Err(self.corrupt("the changes of a frame do not follow those before"));
        }
        if prelude.first_change.checked_add(prelude.changes.into()).is_none() {
            return Err(self.corrupt("the number of a change is out of range"));
        }
        let length = prelude.length as usize;
        if !(TAG..=MAX_FRAME_PAYLOAD + TAG).contains(&length) {
            return Err(self.corrupt("the length of a frame is out of range"));
        }
        Ok(())
    }

    /// No frame can be seen here: a torn tail, unless a later one can.
    fn damaged_prelude(&mut self, rest: &[u8]) -> Result<Option<Record<'_>>, SealedError> {
        if rest.len() > PRELUDE + MAX_FRAME_PAYLOAD + TAG {
            return Err(self.corrupt("more bytes are damaged than one frame has"));
        }
        let later = rest
            .windows(MARKER.len())
            .enumerate()
            .skip(1)
            .filter(|(_, window)| *window == MARKER)
            .any(|(at, _)| {
                Prelude::parse(rest.get(at..).unwrap_or_default(), &self.chain.header_hash).is_some()
            });
        if later {
            return Err(self.corrupt("a frame that others follow is damaged"));
        }
        self.cut("a frame of the checkpoint is damaged")
    }

    /// The file ends here if the checkpoint is complete: a new file is made durable before it gets its name, so
    /// no crash damages a checkpoint.
    fn cut(&mut self, problem: &'static str) -> Result<Option<Record<'_>>, SealedError> {
        if self.log_start.is_none() {
            return Err(self.corrupt(problem));
        }
        self.torn = Some(TornTail {
            offset: self.offset as u64,
            length: self.file.len().saturating_sub(self.offset) as u64,
        });
        Ok(None)
    }

    fn corrupt(&self, problem: &'static str) -> SealedError {
        SealedError::corrupt(self.offset, problem)
    }
}

/// What is known after a whole file was read.
pub struct ReadToEnd {
    /// The header, authenticated by the first frame.
    pub header: Header,
    /// Makes the next frame of this file.
    pub sealer: FrameSealer,
    /// Length of header and checkpoint in bytes; the log part begins there.
    pub checkpoint_end: u64,
    /// Where the next frame belongs: the length of the file without its torn tail, in bytes.
    pub end: u64,
    /// The torn tail, if there is one.
    pub torn: Option<TornTail>,
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::recovery::{RecoveryPlan, RecoveryScheme};
    use crate::sealed::{CheckpointSealer, StateCipher, StateId};
    use crate::testing::TestDice;

    /// A file with two checkpoint parts and three groups, and where each frame begins; the last entry is the
    /// length of the file.
    struct File {
        bytes: Vec<u8>,
        starts: Vec<usize>,
        key: DataKey,
    }

    const PAYLOADS: [&[u8]; 5] = [b"part one", b"part two", b"group one", b"", b"group three"];

    fn fill(payload: &[u8]) -> impl FnOnce(&mut [u8]) -> Result<(), SealedError> {
        move |out| {
            out.copy_from_slice(payload);
            Ok(())
        }
    }

    fn changes(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).unwrap()
    }

    fn file(seed: u64, cipher: StateCipher) -> File {
        let dice = TestDice::new(seed);
        let key = DataKey::generate(cipher, &dice);
        file_of(&key, StateId::generate(&dice), &dice)
    }

    fn file_of(key: &DataKey, state_id: StateId, dice: &TestDice) -> File {
        let plan =
            RecoveryPlan::from_parts(RecoveryScheme::Shamir, 2, vec![[1; 32], [2; 32], [3; 32]]).unwrap();
        let header = Header::new(state_id, key, 1, plan, dice).unwrap();
        let (mut checkpoint, mut bytes) = CheckpointSealer::start(&header, key.clone(), 41).unwrap();
        let mut starts = vec![bytes.len()];
        let mut add = |frame: Vec<u8>| {
            bytes.extend_from_slice(&frame);
            starts.push(bytes.len());
        };
        let [one, two, groups @ ..] = PAYLOADS;
        add(checkpoint.part(one.len(), fill(one), dice).unwrap());
        let (frame, mut sealer) = checkpoint.last_part(two.len(), fill(two), dice).unwrap();
        add(frame);
        for (count, payload) in (1..).zip(groups) {
            add(sealer
                .group(changes(count), payload.len(), fill(payload), dice)
                .unwrap());
        }
        assert_eq!(sealer.next_change(), 41 + 1 + 2 + 3);
        File {
            bytes,
            starts,
            key: key.clone(),
        }
    }

    /// The payloads and the end of a file, or why it was refused.
    fn read(bytes: &[u8], key: &DataKey) -> Result<(Vec<Vec<u8>>, ReadToEnd), SealedError> {
        let mut reader = Reader::open(bytes, key)?;
        let mut payloads = Vec::new();
        while let Some(record) = reader.read()? {
            let (Record::CheckpointPart { payload, .. } | Record::Group { payload, .. }) = record;
            payloads.push(payload.to_vec());
        }
        Ok((payloads, reader.finish()?))
    }

    fn refused_at(bytes: &[u8], key: &DataKey) -> Option<u64> {
        match read(bytes, key) {
            Err(SealedError::Corrupt { offset, .. }) => Some(offset),
            Err(other) => panic!("{other}"),
            Ok(_) => None,
        }
    }

    #[test]
    fn files_come_back() {
        for cipher in [StateCipher::Aes128Gcm, StateCipher::Aes256Gcm] {
            let file = file(1, cipher);
            let mut reader = Reader::open(&file.bytes, &file.key).unwrap();
            let mut seen = Vec::new();
            while let Some(record) = reader.read().unwrap() {
                seen.push(match record {
                    Record::CheckpointPart { payload, last } => (payload.to_vec(), last, 0, 0),
                    Record::Group {
                        first_change,
                        changes,
                        payload,
                    } => (payload.to_vec(), false, first_change, changes),
                });
            }
            let places = [
                (false, 0, 0),
                (true, 0, 0),
                (false, 41, 1),
                (false, 42, 2),
                (false, 44, 3),
            ];
            let expected: Vec<_> = PAYLOADS
                .iter()
                .zip(places)
                .map(|(payload, (last, first, count))| (payload.to_vec(), last, first, count))
                .collect();
            assert_eq!(seen, expected);

            let end = reader.finish().unwrap();
            assert_eq!(end.checkpoint_end, file.starts[2] as u64);
            assert_eq!(end.end, file.bytes.len() as u64);
            assert_eq!(end.torn, None);
            assert_eq!(end.sealer.next_change(), 47);

            // And it can be gone on with.
            let mut sealer = end.sealer;
            let dice = TestDice::new(9);
            let more = sealer.group(changes(1), 4, fill(b"more"), &dice).unwrap();
            let (payloads, end) = read(&[file.bytes, more].concat(), &file.key).unwrap();
            assert_eq!(payloads.last().map(Vec::as_slice), Some(b"more".as_slice()));
            assert_eq!(end.sealer.next_change(), 48);
        }
    }

    #[test]
    fn clear_payloads_are_not_in_the_file() {
        let file = file(1, StateCipher::Aes128Gcm);
        for payload in PAYLOADS.iter().filter(|payload| !payload.is_empty()) {
            assert!(!file.bytes.windows(payload.len()).any(|window| window == *payload));
        }
    }

    #[test]
    fn every_cut_is_a_torn_tail_or_refused() {
        let file = file(1, StateCipher::Aes256Gcm);
        let log_start = file.starts[2];
        for length in 0..file.bytes.len() {
            let cut = &file.bytes[..length];
            if length < log_start {
                assert!(read(cut, &file.key).is_err(), "{length}");
                continue;
            }
            let whole = file.starts.iter().rposition(|start| *start <= length).unwrap();
            let (payloads, end) = read(cut, &file.key).unwrap();
            assert_eq!(payloads, PAYLOADS[..whole]);
            assert_eq!(end.end, file.starts[whole] as u64);
            let torn = (length > file.starts[whole]).then(|| TornTail {
                offset: file.starts[whole] as u64,
                length: (length - file.starts[whole]) as u64,
            });
            assert_eq!(end.torn, torn, "{length}");
        }
    }

    #[test]
    fn a_flipped_bit_is_refused_with_its_frame_or_is_a_torn_tail_in_the_last() {
        let file = file(1, StateCipher::Aes128Gcm);
        let last = file.starts[4];
        for position in file.starts[0] * 8..file.bytes.len() * 8 {
            let mut damaged = file.bytes.clone();
            damaged[position / 8] ^= 1 << (position % 8);
            let frame = file
                .starts
                .iter()
                .rposition(|start| *start <= position / 8)
                .unwrap();
            if position / 8 < last {
                let offset = refused_at(&damaged, &file.key);
                assert_eq!(offset, Some(file.starts[frame] as u64), "bit {position}");
            } else {
                let (payloads, end) = read(&damaged, &file.key).unwrap();
                assert_eq!(payloads, PAYLOADS[..4], "bit {position}");
                let torn = TornTail {
                    offset: last as u64,
                    length: (file.bytes.len() - last) as u64,
                };
                assert_eq!(end.torn, Some(torn));
            }
        }
    }

    #[test]
    fn damage_that_reaches_from_one_frame_into_the_last_is_refused() {
        let file = file(1, StateCipher::Aes128Gcm);
        // The ciphertext of the first group and all of the last frame: the prelude of the first still says that
        // something followed.
        let mut damaged = file.bytes.clone();
        damaged[file.starts[3] - 1] ^= 1;
        damaged[file.starts[3]..].fill(0);
        assert_eq!(refused_at(&damaged, &file.key), Some(file.starts[2] as u64));
        // All of the first group, and the ciphertext of the last: the prelude of the last is still seen.
        let mut damaged = file.bytes.clone();
        damaged[file.starts[2]..file.starts[4]].fill(0);
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(refused_at(&damaged, &file.key), Some(file.starts[2] as u64));
    }

    #[test]
    fn garbage_behind_the_last_frame_is_a_torn_tail() {
        let file = file(1, StateCipher::Aes128Gcm);
        for garbage in [vec![0; 4096], vec![0xa5; 1], MARKER.repeat(100)] {
            let (payloads, end) = read(&[&file.bytes[..], &garbage].concat(), &file.key).unwrap();
            assert_eq!(payloads, PAYLOADS);
            let torn = TornTail {
                offset: file.bytes.len() as u64,
                length: garbage.len() as u64,
            };
            assert_eq!(end.torn, Some(torn));
        }
    }

    #[test]
    fn frames_cannot_be_dropped_repeated_or_moved() {
        let file = file(1, StateCipher::Aes128Gcm);
        let frame = |index: usize| &file.bytes[file.starts[index]..file.starts[index + 1]];
        let header = &file.bytes[..file.starts[0]];
        for (order, broken) in [
            (vec![0, 1, 3, 4], 2),
            (vec![0, 1, 2, 4], 3),
            (vec![0, 1, 2, 2, 3, 4], 3),
            (vec![0, 1, 2, 3, 4, 4], 5),
            (vec![0, 1, 2, 3, 4, 2], 5),
            (vec![0, 1, 3, 2, 4], 2),
            (vec![1, 2, 3, 4], 0),
            (vec![1, 0, 2, 3, 4], 0),
            (vec![0, 2, 3, 4], 1),
            (vec![0, 1, 1, 2, 3, 4], 2),
        ] {
            let frames: Vec<&[u8]> = order.iter().map(|index| frame(*index)).collect();
            let bytes = [header, &frames.concat()].concat();
            let offset = header.len() + frames[..broken].iter().map(|frame| frame.len()).sum::<usize>();
            assert_eq!(refused_at(&bytes, &file.key), Some(offset as u64), "{order:?}");
        }
    }

    #[test]
    fn frames_of_other_files_do_not_fit() {
        let dice = TestDice::new(1);
        let key = DataKey::generate(StateCipher::Aes128Gcm, &dice);
        let one_state = StateId::generate(&dice);
        let file = file_of(&key, one_state, &dice);
        let others = [
            // Another file of the same state under the same key, and another state under the same key.
            file_of(&key, one_state, &dice),
            file_of(&key, StateId::generate(&dice), &dice),
        ];
        for other in others {
            for index in 0..5 {
                let mut bytes = file.bytes.clone();
                let (start, end) = (file.starts[index], file.starts[index + 1]);
                bytes[start..end].copy_from_slice(&other.bytes[start..end]);
                if index < 4 {
                    assert_eq!(refused_at(&bytes, &key), Some(start as u64));
                } else {
                    assert_eq!(read(&bytes, &key).unwrap().0, PAYLOADS[..4]);
                }
            }
            let bytes = [&other.bytes[..other.starts[0]], &file.bytes[file.starts[0]..]].concat();
            assert_eq!(refused_at(&bytes, &key), Some(other.starts[0] as u64));
        }
    }

    #[test]
    fn a_forged_header_does_not_open() {
        let file = file(1, StateCipher::Aes128Gcm);
        let (header, length) = Header::parse(&file.bytes).unwrap();
        let two = RecoveryPlan::from_parts(RecoveryScheme::Xor, 2, vec![[1; 32], [2; 32]]).unwrap();
        for forged in [
            Header {
                recovery: two,
                ..header.clone()
            },
            Header {
                key_generation: 2,
                ..header.clone()
            },
            Header {
                file_id: [0; 16],
                ..header
            },
        ] {
            let forged = forged.encode();
            let bytes = [&forged[..], &file.bytes[length..]].concat();
            assert_eq!(refused_at(&bytes, &file.key), Some(forged.len() as u64));
        }
    }

    #[test]
    fn another_key_is_told_from_damage() {
        let one = file(1, StateCipher::Aes128Gcm);
        for other in [file(2, StateCipher::Aes128Gcm), file(2, StateCipher::Aes256Gcm)] {
            assert_eq!(
                Reader::open(&one.bytes, &other.key).err(),
                Some(SealedError::WrongKey)
            );
        }
    }

    #[test]
    fn forged_preludes_are_bounded() {
        // Preludes with a right checksum and hostile fields, where the first group belongs.
        let file = file(1, StateCipher::Aes128Gcm);
        let (header, _) = Header::parse(&file.bytes).unwrap();
        let header_hash = crate::sealed::sha256(&[&header.encode()]);
        let at = file.starts[2];
        let right = Prelude::parse(&file.bytes[at..], &header_hash).unwrap();
        let with = |prelude: Prelude| {
            let mut bytes = file.bytes.clone();
            bytes[at..at + PRELUDE].copy_from_slice(&prelude.encode(&header_hash));
            read(&bytes, &file.key).map(|(payloads, _)| payloads)
        };
        for length in [0, 15, (MAX_FRAME_PAYLOAD + TAG) as u32 + 1, u32::MAX] {
            let error = with(Prelude { length, ..right }).unwrap_err();
            assert!(
                matches!(error, SealedError::Corrupt { offset, .. } if offset == at as u64),
                "{error}"
            );
        }
        for hostile in [
            Prelude { changes: 0, ..right },
            Prelude { changes: 9, ..right },
            Prelude {
                first_change: u64::MAX,
                ..right
            },
            Prelude {
                number: u64::MAX,
                ..right
            },
            Prelude {
                kind: CHECKPOINT_PART,
                changes: 0,
                ..right
            },
        ] {
            assert!(matches!(with(hostile), Err(SealedError::Corrupt { .. })));
        }
        let newer = SealedError::NewerVersion {
            what: "kind of frame",
            found: 9,
        };
        assert_eq!(with(Prelude { kind: 9, ..right }), Err(newer));
    }

    #[test]
    fn a_failed_payload_leaves_the_sealer_as_it_was() {
        let dice = TestDice::new(1);
        let file = file(1, StateCipher::Aes128Gcm);
        let mut sealer = read(&file.bytes, &file.key).unwrap().1.sealer;
        let error = SealedError::Corrupt {
            offset: 0,
            problem: "a test",
        };
        assert_eq!(
            sealer.group(changes(1), 4, |_| Err(error.clone()), &dice),
            Err(error)
        );
        let frame = sealer.group(changes(1), 4, fill(b"more"), &dice).unwrap();
        assert_eq!(read(&[file.bytes, frame].concat(), &file.key).unwrap().0.len(), 6);
        let too_large = sealer.group(changes(1), MAX_FRAME_PAYLOAD + 1, fill(b""), &dice);
        assert!(matches!(too_large, Err(SealedError::TooLarge { .. })));
    }

    proptest::proptest! {
        #[test]
        fn hostile_bytes_never_panic(
            noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600),
            at in 0_usize..1200,
        ) {
            let file = file(1, StateCipher::Aes128Gcm);
            let _ = read(&noise, &file.key);
            let mut bytes = file.bytes;
            let at = at.min(bytes.len());
            let end = (at + noise.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&noise[..end - at]);
            let _ = read(&bytes, &file.key);
        }
    }
}
