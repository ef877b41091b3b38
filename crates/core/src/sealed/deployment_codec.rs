//! The deployment in a checkpoint: a map of
//!
//! | field | value |
//! |---|---|
//! | 1 | raw manifest |
//! | 2 | its signature |
//! | 3 | manifest generation |
//! | 4 | secrets `[[name, [version, value]], …]` |
//! | 5 | previous values `[[name, [1, value] or [2, root secret]], …]` |
//! | 6 | activations `[[marble type, count], …]` |
//! | 7 | update log `[line, …]`; the hashes follow from the lines |
//! | 8 | raised security versions `[[package, version], …]` |
//! | 9 | pending update `[position of its proposal, raw manifest, [user who acknowledged, …]]`, or null |
//! | 10 | counters `[[marble type, [UUID, [[name, value], …]]], …]` |
//!
//! Fields 8 to 10 may be absent: then there is nothing of them.

use imbl::{OrdMap, Vector};
use minicbor::decode::Decoder;
use minicbor::encode::{Encoder, Write};
use std::sync::Arc;

use super::cbor::{Encoded, Fault, read_list, read_map, read_optional, read_tuple, required};
use super::change_codec::compile;
use super::value_codec::{
    bytes, decode_named, decode_names, decode_previous, decode_value, encode_named, encode_names,
    encode_previous, encode_value, uuid,
};
use crate::state::{Deployment, PendingUpdate, StoredSecret};

pub(super) fn encode_deployment<W: Write>(to: &mut Encoder<W>, deployment: &Deployment) -> Encoded<W> {
    to.map(10)?;
    to.u8(1)?.bytes(&deployment.manifest.raw)?;
    to.u8(2)?.bytes(&deployment.signature)?;
    to.u8(3)?.u64(deployment.manifest_generation)?;
    to.u8(4)?;
    encode_named(to, deployment.secrets.iter(), |to, stored| {
        to.array(2)?.u64(stored.version)?;
        encode_value(to, &stored.value)
    })?;
    to.u8(5)?;
    encode_named(to, deployment.previous.iter(), encode_previous)?;
    to.u8(6)?;
    encode_named(to, deployment.activations.iter(), |to, count| {
        to.u64(*count)?.ok()
    })?;
    to.u8(7)?.array(deployment.update_log.len() as u64)?;
    for entry in &deployment.update_log {
        to.str(&entry.line)?;
    }
    to.u8(8)?;
    encode_named(to, deployment.raised.iter(), |to, version| to.u64(*version)?.ok())?;
    to.u8(9)?;
    match &deployment.pending {
        None => to.null()?.ok()?,
        Some(pending) => {
            to.array(3)?.u64(pending.number)?.bytes(&pending.raw)?;
            encode_names(to, pending.acknowledged.iter())?;
        }
    }
    to.u8(10)?.array(deployment.counters.len() as u64)?;
    for ((marble_type, uuid), counters) in &deployment.counters {
        to.array(2)?.str(marble_type)?;
        to.array(2)?.bytes(uuid.as_bytes())?;
        encode_named(to, counters.iter(), |to, value| to.u64(*value)?.ok())?;
    }
    Ok(())
}

pub(super) fn decode_deployment(from: &mut Decoder<'_>) -> Result<Deployment, Fault> {
    let (mut manifest, mut signature, mut manifest_generation) = (None, None, None);
    let (mut secrets, mut previous) = (OrdMap::new(), OrdMap::new());
    let (mut activations, mut raised) = (OrdMap::new(), OrdMap::new());
    let (mut lines, mut counters, mut pending) = (Vec::new(), Vec::new(), None);
    read_map(from, "field of the deployment", |field, from| {
        match field {
            1 => manifest = Some(compile(bytes(from)?)?),
            2 => signature = Some(bytes(from)?),
            3 => manifest_generation = Some(from.u64()?),
            4 => decode_named(from, stored_secret, |name, stored| {
                secrets.insert(name, stored);
            })?,
            5 => decode_named(from, decode_previous, |name, secret| {
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
                    lines.push(Arc::from(from.str()?));
                    Ok(())
                })?;
            }
            8 => decode_named(
                from,
                |from| Ok(from.u64()?),
                |name, version| {
                    raised.insert(name, version);
                },
            )?,
            9 => pending = read_optional(from, pending_update)?,
            10 => decode_named(from, counters_of_one, |marble_type, (uuid, values)| {
                counters.push(((marble_type, uuid), values));
            })?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let mut deployment = Deployment {
        manifest: required(manifest)?,
        signature: required(signature)?,
        manifest_generation: required(manifest_generation)?,
        sealing: None,
        secrets,
        previous,
        activations,
        raised,
        pending,
        counters: OrdMap::new(),
        counter_count: 0,
        type_counter_counts: OrdMap::new(),
        update_log: Vector::new(),
    };
    for line in lines {
        deployment.log(line);
    }
    for (owner, values) in counters {
        for (name, value) in values {
            deployment.raise_counter(owner.clone(), &name, value);
        }
    }
    Ok(deployment)
}

fn stored_secret(from: &mut Decoder<'_>) -> Result<StoredSecret, Fault> {
    read_tuple(from, 2)?;
    let version = from.u64()?;
    Ok(StoredSecret {
        value: Arc::new(decode_value(from)?),
        version,
    })
}

fn pending_update(from: &mut Decoder<'_>) -> Result<PendingUpdate, Fault> {
    read_tuple(from, 3)?;
    let mut pending = PendingUpdate::new(from.u64()?, bytes(from)?);
    pending.acknowledged.extend(decode_names(from)?);
    Ok(pending)
}

/// UUID, and names with values.
type CountersOfOne = (uuid::Uuid, Vec<(crate::manifest::Name, u64)>);

fn counters_of_one(from: &mut Decoder<'_>) -> Result<CountersOfOne, Fault> {
    read_tuple(from, 2)?;
    let uuid = uuid(from)?;
    let mut values = Vec::new();
    decode_named(
        from,
        |from| Ok(from.u64()?),
        |name, value| values.push((name, value)),
    )?;
    Ok((uuid, values))
}
