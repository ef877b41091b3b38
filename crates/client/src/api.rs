//! The endpoints of the client API, version 2.

use aws_lc_rs::digest::{SHA256, digest};
use marblerun_wire::rest::{Base64Bytes, encode_nonce, path, v2};

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
        self.post(
            path::V2_MANIFEST,
            &v2::SendManifest {
                manifest: Base64Bytes(manifest.to_vec()),
            },
        )
        .await
    }

    /// The update log: one JSON text for each entry.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn update_log(&self) -> Result<Vec<String>, RequestError> {
        Ok(self.get::<v2::UpdateLog>(path::V2_UPDATE).await?.update_log)
    }
}
