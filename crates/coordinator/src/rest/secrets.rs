//! `GET secrets`, `POST secrets`: users read and write the values of secrets.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{Request, Uri};
use marblerun_core::flow::read_secrets::SecretView;
use marblerun_core::manifest::Name;
use marblerun_core::secret::upload::Upload;
use marblerun_core::secret::value::SecretBytes;
use marblerun_wire::rest::{Base64Bytes, Base64Secret, MAXIMUM_SECRETS_BODY, Named, read_body, v1, v2};
use zeroize::Zeroizing;

use super::caller::{self, Known};
use super::reply::{self, RefusedAs, Version};
use super::{Rest, Shared, body};

pub(super) async fn get_v1(State(rest): State<Shared>, request: Request<Body>) -> Response {
    match read(&rest, request, Version::V1).await {
        Ok(secrets) => rest.secret_replies.success::<v1::Secrets>(Version::V1, secrets),
        Err(response) => response,
    }
}

pub(super) async fn get_v2(State(rest): State<Shared>, request: Request<Body>) -> Response {
    match read(&rest, request, Version::V2).await {
        Ok(secrets) => rest.secret_replies.success(Version::V2, v2::Secrets { secrets }),
        Err(response) => response,
    }
}

pub(super) async fn post_v1(State(rest): State<Shared>, request: Request<Body>) -> Response {
    let read = |body: &[u8]| read_body::<v1::UploadSecrets>(body).map_err(|error| error.to_string());
    write(&rest, request, Version::V1, read).await
}

pub(super) async fn post_v2(State(rest): State<Shared>, request: Request<Body>) -> Response {
    let read = |body: &[u8]| match read_body::<v2::UploadSecrets>(body) {
        Ok(upload) => Ok(upload.secrets),
        Err(error) => Err(error.to_string()),
    };
    write(&rest, request, Version::V2, read).await
}

async fn read(rest: &Rest, request: Request<Body>, version: Version) -> Result<Named<v2::Secret>, Response> {
    let uri = request.uri().clone();
    // Who is nobody is told so, whatever he asked for.
    let Known { leaf, .. } = caller::user(rest, request, version).await?;
    let names = names(&uri).map_err(|reason| reply::bad_request(version, reason))?;
    let read = rest
        .service
        .read_secrets(&leaf, &names)
        .map_err(|refusal| reply::refusal(version, RefusedAs::BadRequestInV1, &refusal))?;
    let view = |(name, secret): (&Name, &SecretView)| (name.to_string(), on_the_wire(secret));
    let secrets = read.secrets.iter().map(view).collect();
    tracing::info!(user = %read.caller.name(), secrets = ?read.secrets.keys(), "secrets were read");
    Ok(secrets)
}

/// The names asked for: each parameter `s`.
fn names(uri: &Uri) -> Result<Vec<Name>, String> {
    let parameters = body::query(uri).map_err(|error| format!("invalid query: {error}"))?;
    let names = parameters.into_iter().filter(|(parameter, _)| parameter == "s");
    Ok(names.map(|(_, name)| name.into()).collect())
}

fn on_the_wire(secret: &SecretView) -> v2::Secret {
    let copy = |bytes: &[u8]| Base64Secret::new(Zeroizing::new(bytes.to_vec()));
    v2::Secret {
        r#type: secret.secret_type.to_owned(),
        size: secret.size,
        shared: secret.shared,
        user_defined: secret.user_defined,
        cert: secret.certificate().map(|der| Base64Bytes(der.to_vec())),
        valid_for: secret.valid_for,
        private: secret.private().map(copy),
        public: secret.public().map(copy),
    }
}

async fn write(
    rest: &Rest,
    request: Request<Body>,
    version: Version,
    read: impl FnOnce(&[u8]) -> Result<Named<v2::UploadedSecret>, String>,
) -> Response {
    match try_write(rest, request, version, read).await {
        Ok(()) => reply::success(()),
        Err(response) => response,
    }
}

async fn try_write(
    rest: &Rest,
    request: Request<Body>,
    version: Version,
    read: impl FnOnce(&[u8]) -> Result<Named<v2::UploadedSecret>, String>,
) -> Result<(), Response> {
    let Known { leaf, body, .. } = caller::user(rest, request, version).await?;
    let body = rest.bodies.read(body, MAXIMUM_SECRETS_BODY).await;
    let body = body.map_err(|refusal| reply::unread(version, refusal))?;
    let uploaded = read(body.as_ref()).map_err(|reason| reply::bad_request(version, reason))?;
    drop(body);
    if uploaded.0.is_empty() {
        return Err(reply::bad_request(version, names_none(version).to_owned()));
    }
    let uploads: BTreeMap<Name, Upload> = uploaded
        .0
        .into_iter()
        .map(|(name, secret)| (name.into(), upload(secret)))
        .collect();
    let names: Vec<Name> = uploads.keys().cloned().collect();
    let written = rest.service.write_secrets(leaf, uploads).await;
    let written = written.map_err(|refusal| reply::refusal(version, RefusedAs::BadRequestInV1, &refusal))?;
    let user = written.caller.name();
    for warning in &written.warnings {
        tracing::warn!(%user, warning, "a secret was written with a warning");
    }
    tracing::info!(%user, secrets = ?names, "secrets were written");
    Ok(())
}

/// What to say of a body that names no secret: maybe one of the other version.
fn names_none(version: Version) -> &'static str {
    match version {
        Version::V1 => "no secret is named: expected {\"<name>\": {\"Key\": \"<base64>\"}}",
        Version::V2 => {
            "secrets: missing or empty, expected {\"secrets\": {\"<name>\": {\"Key\": \"<base64>\"}}}"
        }
    }
}

fn upload(secret: v2::UploadedSecret) -> Upload {
    let copy = |secret: Base64Secret| SecretBytes::copy_from(secret.expose());
    Upload {
        key: secret.key.map(copy),
        certificate: secret.cert.map(|der| der.0.into()),
        private: secret.private.map(copy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_parameters_s() {
        let names = |query: &str| {
            let names = names(&format!("/secrets{query}").parse().unwrap()).unwrap();
            names.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(names("").is_empty());
        assert!(names("?t=a").is_empty());
        assert_eq!(names("?s=a&t=b&s=c%20d&s="), ["a", "c d", ""]);
    }
}
