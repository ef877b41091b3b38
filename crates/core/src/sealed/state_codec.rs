//! A whole state as one CBOR map, which [`super::checkpoint`] cuts into parts:
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
//! | 11 | the deployment, see [`super::deployment_codec`] |

use std::sync::Arc;

use minicbor::decode::Decoder;
use minicbor::encode::{Encoder, Write};

use super::cbor::{Encode, Encoded, Fault, read_end, read_list, read_map, read_tuple, required};
use super::deployment_codec::{decode_deployment, encode_deployment};
use super::header::{scheme_code, scheme_of};
use super::value_codec::{self, bytes, private_key};
use super::{DataKey, Header};
use crate::pki::CryptoSuite;
use crate::pki::authority::Authority;
use crate::recovery::RecoveryPlan;
use crate::state::{Deployment, Sealing, State};

/// A state that can be sealed.
pub(super) struct Checkpoint<'s> {
    pub(super) state: &'s State,
    pub(super) deployment: &'s Deployment,
    pub(super) sealing: &'s Sealing,
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

/// Reads what [`Checkpoint`] wrote; `key` is the one it was opened with.
pub(super) fn decode_checkpoint(payload: &[u8], key: &DataKey) -> Result<State, Fault> {
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
            10 => root_secret = Some(value_codec::root_secret(from)?),
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
    let deployment = Deployment {
        sealing: Some(sealing),
        ..required(deployment)?
    };
    Ok(State {
        position: required(position)?,
        authority: Arc::new(authority),
        root_secret: required(root_secret)?,
        recovering: false,
        deployment: Some(deployment),
    })
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

/// The header is authenticated by its frames, for whoever has the data key; that its maker meant the same state
/// is checked here.
pub(super) fn check_header(state: &State, header: &Header) -> Result<(), Fault> {
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
