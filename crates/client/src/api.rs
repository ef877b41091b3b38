//! The endpoints of the client API, version 2.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::Method;
use marblerun_wire::rest::{Base64Bytes, Base64Secret, Named, encode_nonce, path, v2};
use zeroize::Zeroizing;

use crate::attested::{Attested, Trust};
use crate::certificate::CertificateChain;
use crate::error::RequestError;

/// SHA-256 of a manifest as it is uploaded, in 64 lower-case hex digits.
pub fn manifest_fingerprint(manifest: &[u8]) -> String {
    hex::encode(digest(&SHA256, manifest))
}

impl Attested {
    /// The phase the Coordinator is in.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn status(&self) -> Result<v2::Status, RequestError> {
        self.get(path::V2_STATUS).await
    }

    /// Certificates and evidence, made fresh when there is a nonce that is not empty.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn quote(&self, nonce: Option<&[u8]>) -> Result<v2::Quote, RequestError> {
        match nonce {
            // Of the characters of padded URL-safe base64 only the padding needs an escape.
            Some(nonce) if !nonce.is_empty() => {
                let nonce = encode_nonce(nonce).replace('=', "%3D");
                self.get(&format!("{}?nonce={nonce}", path::V2_QUOTE)).await
            }
            _ => self.get(path::V2_QUOTE).await,
        }
    }

    /// The Coordinator's certificates: on a verified connection the root is the one it was verified with; on
    /// one that is not, whatever is claimed.
    ///
    /// # Errors
    /// See [`RequestError`]; [`RequestError::NotAnAnswer`] also when the root is another one.
    pub async fn certificates(&self) -> Result<CertificateChain, RequestError> {
        self.chain_of(&self.quote(None).await?)
    }

    /// The certificates of a quote that [`Attested::quote`] returned, checked as [`Attested::certificates`]
    /// does.
    ///
    /// # Errors
    /// [`RequestError::NotAnAnswer`]
    pub fn chain_of(&self, quote: &v2::Quote) -> Result<CertificateChain, RequestError> {
        let not_an_answer = |reason: String| RequestError::NotAnAnswer {
            request: format!("GET {}", path::V2_QUOTE),
            status: 200,
            reason,
        };
        let chain = CertificateChain::from_pem(quote.cert.as_bytes())
            .map_err(|error| not_an_answer(error.to_string()))?;
        if self.trust() != Trust::Unverified && chain.root() != self.root() {
            return Err(not_an_answer(
                "its root certificate is not the one of this connection".to_owned(),
            ));
        }
        Ok(chain)
    }

    /// The manifest in force.
    ///
    /// # Errors
    /// See [`RequestError`]; refused when none is set.
    pub async fn manifest(&self) -> Result<v2::Manifest, RequestError> {
        self.get(path::V2_MANIFEST).await
    }

    /// Sets the manifest and returns the recovery secrets, encrypted for their holders.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn set_manifest(&self, manifest: &[u8]) -> Result<v2::ManifestSet, RequestError> {
        self.post(path::V2_MANIFEST, &carrying(manifest)).await
    }

    /// The update log: one JSON text for each entry.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn update_log(&self) -> Result<Vec<String>, RequestError> {
        Ok(self.update_log_with_hashes().await?.update_log)
    }

    /// The update log with a hash for each entry that covers it and all before it: whoever kept one can tell whether
    /// the log up to there is still the same. They are what the Coordinator says, not recomputed here.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn update_log_with_hashes(&self) -> Result<v2::UpdateLog, RequestError> {
        self.get(path::V2_UPDATE).await
    }

    /// Proposes an update of the manifest: one that raises security versions of packages is applied at once; any
    /// other one as soon as all users needed have acknowledged it, of which the proposal is the first. When the
    /// update was applied and made new recovery secrets, the reply is the only place they are in. Its message is empty
    /// unless there is more to say than that, as of a security version that the update lowers.
    ///
    /// # Errors
    /// See [`RequestError`]; refused without the identity of a user who may, and while another update is pending.
    pub async fn propose_update(&self, manifest: &[u8]) -> Result<v2::Acknowledged, RequestError> {
        let (received, message): (v2::UpdateReceived, _) = self
            .post_with_message(path::V2_UPDATE, &carrying(manifest))
            .await?;
        Ok(v2::Acknowledged {
            message,
            missing_users: received.missing_users,
            missing_acknowledgments: received.missing_acknowledgments,
            recovery_secrets: received.recovery_secrets,
        })
    }

    /// Acknowledges the pending update, whose manifest must be byte for byte this one. For recovery secrets as
    /// [`Attested::propose_update`].
    ///
    /// # Errors
    /// See [`RequestError`]; refused without the identity of a user who may, and when no such update is pending.
    pub async fn acknowledge_update(&self, manifest: &[u8]) -> Result<v2::Acknowledged, RequestError> {
        self.post(path::V2_UPDATE_MANIFEST, &carrying(manifest)).await
    }

    /// Drops the pending update.
    ///
    /// # Errors
    /// See [`RequestError`]; refused without the identity of a user who may, and, with HTTP 404, when none is
    /// pending.
    pub async fn cancel_update(&self) -> Result<v2::Cancelled, RequestError> {
        self.request(Method::POST, path::V2_UPDATE_CANCEL, Bytes::new())
            .await
    }

    /// The pending update.
    ///
    /// # Errors
    /// See [`RequestError`]; refused with HTTP 404 when none is pending.
    pub async fn pending_update(&self) -> Result<v2::PendingUpdate, RequestError> {
        self.get(path::V2_UPDATE_MANIFEST).await
    }

    /// The secrets of these names; each of them is in the result.
    ///
    /// # Errors
    /// See [`RequestError`]; refused without the identity of a user who may read all of them, and for no or an
    /// empty name.
    pub async fn read_secrets(&self, names: &[impl AsRef<str>]) -> Result<Named<v2::Secret>, RequestError> {
        let mut query = path::V2_SECRETS.to_owned();
        for (position, name) in names.iter().enumerate() {
            query.push_str(if position == 0 { "?s=" } else { "&s=" });
            push_escaped(&mut query, name.as_ref());
        }
        let secrets = self.get::<v2::Secrets>(&query).await?.secrets;
        match names.iter().find(|name| !secrets.0.contains_key(name.as_ref())) {
            None => Ok(secrets),
            Some(missing) => Err(RequestError::NotAnAnswer {
                request: format!("GET {}", path::V2_SECRETS),
                status: 200,
                reason: format!("it lacks the secret {:?}", missing.as_ref()),
            }),
        }
    }

    /// Uploads values of user-defined secrets: all of them, or, when it is refused, none.
    ///
    /// # Errors
    /// See [`RequestError`]; refused without the identity of a user who may write all of them.
    pub async fn write_secrets(&self, secrets: &v2::UploadSecrets) -> Result<(), RequestError> {
        self.post(path::V2_SECRETS, secrets).await
    }

    /// The state in the format of the original: a whole file, encrypted with the data key of the state.
    ///
    /// # Errors
    /// See [`RequestError`]; refused without the identity of a user who may update the manifest, and for a state that
    /// has no recovery keys, a pending update, or what the original cannot represent.
    pub async fn export_state(&self) -> Result<Vec<u8>, RequestError> {
        let exported: v2::StateExported = self
            .request(Method::POST, path::V2_STATE_EXPORT, Bytes::new())
            .await?;
        Ok(exported.sealed_data.0)
    }

    /// The key that recovery secrets may be encrypted for while the Coordinator waits for them; it changes with
    /// every start.
    ///
    /// # Errors
    /// See [`RequestError`]; refused when no state waits for recovery.
    pub async fn recovery_public_key(&self) -> Result<v2::RecoveryPublicKey, RequestError> {
        self.get(path::V2_RECOVER_PUBLIC_KEY).await
    }

    /// Hands in a recovery secret, plain or encrypted for [`Attested::recovery_public_key`], with the signature of
    /// its holder over the plain one. After the last one the Coordinator has another certificate.
    ///
    /// # Errors
    /// See [`RequestError`]; refused when no state waits for recovery, and for a secret that is none of the state.
    pub async fn recover(
        &self,
        secret: Zeroizing<Vec<u8>>,
        signature: Vec<u8>,
    ) -> Result<v2::Recovered, RequestError> {
        let body = v2::Recover {
            recovery_secret: Base64Secret::new(secret),
            recovery_secret_signature: Base64Bytes(signature),
        };
        self.post(path::V2_RECOVER, &body).await
    }
}

fn carrying(manifest: &[u8]) -> v2::SendManifest {
    v2::SendManifest {
        manifest: Base64Bytes(manifest.to_vec()),
    }
}

/// Percent-encodes all but the characters that mean themselves everywhere (RFC 3986, section 2.3).
fn push_escaped(query: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                query.push(char::from(byte));
            }
            // Writing to a string does not fail.
            other => drop(write!(query, "%{other:02X}")),
        }
    }
}
