//! The encodings of secrets: `hex`, `base64`, `pem`, `raw`, `string` (`spec/02`, "Templates").
//!
//! Bytes of secrets are read where they lie and encoded into buffers that are wiped.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::buffer::Buffer;
use super::functions::Function;
use super::object::{Age, Object, Owner, Part};
use super::render::{Failure, Renderer};
use super::value::{Text, Value};
use crate::secret::value::{CertificateValue, SecretBytes, SecretValue};

/// Bytes in one line of PEM: 64 characters.
const PEM_LINE: usize = 48;

impl<'a> Renderer<'a> {
    /// Encodes a secret or a part of one.
    pub(super) fn encode(&self, encoding: Function, value: &Value) -> Result<Text, Failure> {
        let object = value.object().ok_or_else(|| {
            format!(
                "`{}` takes a secret or a part of one, not a {}",
                encoding.name(),
                value.type_name()
            )
        })?;
        let (owner, part) = object.encoded_part(encoding, self.data.specs)?;
        let bytes = self.bytes(owner, part)?;
        let bytes = match value {
            Value::Piece { start, end, .. } => bytes.get(*start..*end).unwrap_or_default(),
            _ => bytes,
        };
        if bytes.is_empty() {
            return Err(format!("{} is empty", object.describe()).into());
        }
        self.check_size(bytes)?;
        match encoding {
            Function::Hex => {
                let mut result = Ok(());
                let text = Text::fill_with(bytes.len() * 2, |to| result = hex::encode_to_slice(bytes, to));
                result.map(|()| text).map_err(|_| "hex failed".to_owned().into())
            }
            Function::Base64 => base64(bytes),
            Function::Pem => pem(part, bytes),
            Function::String if bytes.contains(&0) => Err(Failure {
                message: format!("{} contains a NUL byte and cannot be a string", object.describe()),
                empty_secret: None,
                nul_secret: match owner {
                    Owner::Secret(_, name) => name.clone(),
                    _ => None,
                },
            }),
            _ => Ok(Text::copy_from(bytes)),
        }
    }

    /// The bytes of a part; an error when there are none.
    pub(super) fn bytes(&self, owner: &Owner, part: Part) -> Result<&'a [u8], Failure> {
        let data = self.data;
        let found: Option<&'a [u8]> = match (owner, part) {
            (Owner::Secret(age, Some(name)), _) => {
                self.stored(*age, name).and_then(|value| match (value, part) {
                    (SecretValue::Symmetric(key), Part::Public | Part::Private) => Some(key.expose()),
                    (SecretValue::Plain(content), Part::Public | Part::Private) => Some(content.expose()),
                    (SecretValue::Certificate(value), part) => certificate_part(value, part),
                    _ => None,
                })
            }
            (Owner::Secret(_, None), _) => None,
            (Owner::RootCa, Part::Cert) => Some(data.root_ca),
            (Owner::CoordinatorRoot, Part::Cert) => Some(data.coordinator_root),
            (Owner::CoordinatorIntermediate, Part::Cert) => Some(data.coordinator_intermediate),
            (Owner::MarbleCert, Part::Cert) => Some(data.marble_certificate),
            (Owner::MarbleCert, Part::Public) => Some(data.marble_key.public()),
            (Owner::MarbleCert, Part::Private) => Some(data.marble_key.pkcs8().expose()),
            (Owner::SealKey, Part::Public | Part::Private) => data.seal_key.map(SecretBytes::expose),
            _ => None,
        };
        match (found.filter(|bytes| !bytes.is_empty()), owner) {
            (Some(bytes), _) => Ok(bytes),
            (None, Owner::Secret(age, Some(name))) => {
                let user_defined = data.specs.get(name).is_some_and(|spec| spec.user_defined);
                let has_value = self.stored(*age, name).is_some();
                let message = match (user_defined, age, has_value) {
                    (true, Age::Previous, _) => format!("user-defined secret `{name}` has no previous value"),
                    (true, Age::Current, false) => {
                        format!("user-defined secret `{name}` has not been set yet")
                    }
                    (true, Age::Current, true) => {
                        format!("{} is empty", Object::Part(owner.clone(), part).describe())
                    }
                    (false, _, _) => format!("{} has no value", owner.describe()),
                };
                Err(Failure {
                    message,
                    empty_secret: user_defined.then(|| name.clone()),
                    nul_secret: None,
                })
            }
            (None, owner) => Err(format!("{} has no value", owner.describe()).into()),
        }
    }

    /// Whether a key part has a value. Generated secrets always have one, also where it was not asked for.
    pub(super) fn is_present(&self, owner: &Owner, part: Part) -> bool {
        match owner {
            Owner::Secret(_, Some(name))
                if !self.data.specs.get(name).is_some_and(|spec| spec.user_defined) =>
            {
                true
            }
            Owner::Secret(_, _) => self.bytes(owner, part).is_ok(),
            _ => true,
        }
    }

    fn stored(&self, age: Age, name: &str) -> Option<&'a SecretValue> {
        match age {
            Age::Current => self.data.secrets.get(name),
            Age::Previous => self.data.previous.get(name),
        }
    }

    /// Refuses what could not be printed anyway before it is copied.
    fn check_size(&self, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.len() > super::buffer::OUTPUT_LIMIT {
            Err(super::buffer::overflow().into())
        } else {
            Ok(())
        }
    }
}

fn certificate_part(value: &CertificateValue, part: Part) -> Option<&[u8]> {
    match part {
        Part::Cert => Some(&value.certificate),
        Part::Public => Some(&value.public),
        Part::Private => value.private.as_ref().map(SecretBytes::expose),
    }
}

fn base64(bytes: &[u8]) -> Result<Text, Failure> {
    let mut result = Ok(0);
    let length = bytes.len().div_ceil(3) * 4;
    let text = Text::fill_with(length, |to| result = STANDARD.encode_slice(bytes, to));
    result
        .map(|_| text)
        .map_err(|_| "base64 failed".to_owned().into())
}

/// A block as RFC 7468 section 2 describes it: lines of 64 characters, a line break at the end.
fn pem(part: Part, bytes: &[u8]) -> Result<Text, Failure> {
    let label = match part {
        Part::Cert => "CERTIFICATE",
        Part::Public => "PUBLIC KEY",
        Part::Private => "PRIVATE KEY",
    };
    let mut block = Buffer::new();
    block.write(format!("-----BEGIN {label}-----\n").as_bytes());
    for line in bytes.chunks(PEM_LINE) {
        block.write(base64(line)?.expose());
        block.write(b"\n");
    }
    block.write(format!("-----END {label}-----\n").as_bytes());
    Ok(block.into_text()?)
}
