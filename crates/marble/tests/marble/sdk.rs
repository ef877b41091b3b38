//! Marbles written in Rust: identity and mutual TLS.

use std::sync::Arc;

use marblerun_marble::{Identity, MarbleName, tls};
use rustls::ProtocolVersion;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::support::{Deployment, identity_of};

const UUID: &str = "68a9a66e-4a52-4b3d-8e0b-0f6c2c6b2d11";
const OTHER: &str = "0f9b6f0e-1111-4b3d-8e0b-0f6c2c6b2d22";

/// Both ends shake hands and the server says who called; or the first error of either.
async fn call(server: &Identity, client: &Identity, name: &'static str) -> Result<MarbleName, String> {
    let acceptor = TlsAcceptor::from(Arc::new(tls::server_config(server).unwrap()));
    let connector = TlsConnector::from(Arc::new(tls::client_config(client).unwrap()));
    let (near, far) = duplex(64 * 1024);
    let serving = async {
        let mut stream = acceptor
            .accept(far)
            .await
            .map_err(|error| format!("server: {error}"))?;
        stream.write_all(b"!").await.map_err(|error| error.to_string())?;
        stream.shutdown().await.map_err(|error| error.to_string())?;
        let session = stream.get_ref().1;
        assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let certificate = session.peer_certificates().unwrap().first().unwrap();
        MarbleName::of_verified_certificate(certificate).map_err(|error| error.to_string())
    };
    let calling = async {
        let name = ServerName::try_from(name).unwrap();
        let mut stream = connector
            .connect(name, near)
            .await
            .map_err(|error| format!("client: {error}"))?;
        let mut received = Vec::new();
        stream
            .read_to_end(&mut received)
            .await
            .map_err(|error| error.to_string())?;
        Ok::<_, String>(received)
    };
    let (caller, received) = tokio::join!(serving, calling);
    let caller = caller?;
    assert_eq!(received?, b"!");
    Ok(caller)
}

#[tokio::test]
async fn marbles_of_a_deployment_recognise_each_other() {
    let deployment = Deployment::new();
    let server = deployment.marble(UUID, "backend", "localhost");
    let client = deployment.marble(OTHER, "frontend", "localhost");
    let caller = call(&server, &client, "localhost").await.unwrap();
    assert_eq!(caller, *client.name());
    assert_eq!(caller.to_string(), format!("{OTHER} (frontend)"));
}

#[tokio::test]
async fn marbles_of_another_deployment_are_refused_on_both_sides() {
    let (deployment, other) = (Deployment::new(), Deployment::new());
    let server = deployment.marble(UUID, "backend", "localhost");
    let stranger = other.marble(OTHER, "frontend", "localhost");
    let refused = call(&server, &stranger, "localhost").await.unwrap_err();
    assert!(
        refused.contains("server: "),
        "the client meets the strange certificate first: {refused}"
    );

    // A client that takes any server shows that the server refuses on its own.
    let mut variables = deployment.environment(OTHER, Some("frontend"), "localhost");
    let strangers = other.environment(OTHER, Some("frontend"), "localhost");
    for index in [1, 2] {
        variables[index] = strangers[index].clone();
    }
    let refused = call(&server, &identity_of(&variables).unwrap(), "localhost")
        .await
        .unwrap_err();
    assert!(
        refused.starts_with("server: invalid peer certificate"),
        "{refused}"
    );
}

#[tokio::test]
async fn what_an_authority_of_the_manifest_signs_is_no_marble() {
    let deployment = Deployment::new();
    let marble = deployment.marble(UUID, "backend", "localhost");
    let impostor = deployment.impostor(OTHER, "frontend", "localhost");
    let refused = call(&marble, &impostor, "localhost").await.unwrap_err();
    assert!(
        refused.starts_with("server: invalid peer certificate: UnknownIssuer"),
        "{refused}"
    );
    let refused = call(&impostor, &marble, "localhost").await.unwrap_err();
    assert!(
        refused.contains("UnknownIssuer") || refused.contains("UnknownCA"),
        "{refused}"
    );
}

#[tokio::test]
async fn the_name_of_the_server_is_checked() {
    let deployment = Deployment::new();
    let server = deployment.marble(UUID, "backend", "backend.example");
    let client = deployment.marble(OTHER, "frontend", "localhost");
    assert!(call(&server, &client, "backend.example").await.is_ok());
    assert!(call(&server, &client, "localhost").await.is_err());
}

#[tokio::test]
async fn a_certificate_of_the_deployment_that_is_no_marble_has_no_name() {
    let deployment = Deployment::new();
    let server = deployment.marble(UUID, "backend", "localhost");
    let mut variables = deployment.environment(OTHER, Some("frontend"), "localhost");
    let secret = deployment.environment(OTHER, None, "localhost");
    let error = identity_of(&secret).unwrap_err();
    assert_eq!(
        error.to_string(),
        "MARBLE_PREDEFINED_MARBLE_CERTIFICATE_CHAIN: not a marble certificate: expected the marble type as UTF-8 in \
         extension 1.3.9903.2.1"
    );
    // Such a certificate gets through the handshake, and is told from a marble's afterwards.
    variables[1].1 = secret[1].1.clone();
    variables[2].1 = secret[2].1.clone();
    let configuration = {
        let certificates: Vec<_> = pem_certificates(&variables[1].1);
        let key = rustls_pki_types::pem::PemObject::from_pem_slice(variables[2].1.as_bytes()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(server.marble_root().clone()).unwrap();
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates, key)
            .unwrap()
    };
    let acceptor = TlsAcceptor::from(Arc::new(tls::server_config(&server).unwrap()));
    let (near, far) = duplex(64 * 1024);
    let connector = TlsConnector::from(Arc::new(configuration));
    let (accepted, connected) = tokio::join!(
        acceptor.accept(far),
        connector.connect("localhost".try_into().unwrap(), near)
    );
    let (accepted, _open) = (accepted.unwrap(), connected.unwrap());
    let certificate = accepted.get_ref().1.peer_certificates().unwrap().first().unwrap();
    assert!(MarbleName::of_verified_certificate(certificate).is_err());
}

fn pem_certificates(pem: &str) -> Vec<rustls_pki_types::CertificateDer<'static>> {
    use rustls_pki_types::pem::PemObject;
    rustls_pki_types::CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap()
}

#[test]
fn identity_is_read_from_the_predefined_variables() {
    let deployment = Deployment::new();
    let identity = deployment.marble(UUID, "a type/ü", "localhost");
    assert_eq!(identity.name().uuid.to_string(), UUID);
    assert_eq!(identity.name().marble_type, "a type/ü");
    assert_eq!(identity.certificate_chain().len(), 2);
    assert_ne!(identity.marble_root(), identity.coordinator_root());
    assert_eq!(
        format!("{identity:?}"),
        format!("Identity {{ name: MarbleName {{ uuid: {UUID}, marble_type: \"a type/ü\" }}, .. }}")
    );
}

#[test]
fn missing_and_broken_variables_are_named_and_never_shown() {
    let deployment = Deployment::new();
    let good = deployment.environment(UUID, Some("backend"), "localhost");
    for index in 0..good.len() {
        let name = good[index].0;
        let refused = |value: Option<&str>| {
            let mut variables = good.clone();
            match value {
                Some(value) => variables[index].1 = value.to_owned(),
                None => drop(variables.remove(index)),
            }
            identity_of(&variables).unwrap_err().to_string()
        };
        for missing in [None, Some("")] {
            assert!(refused(missing).starts_with(&format!("{name} is not set: ")));
        }
        for broken in [
            "secret",
            "-----BEGIN CERTIFICATE-----\nsecret\n-----END CERTIFICATE-----\n",
        ] {
            let message = refused(Some(broken));
            assert!(
                message.starts_with(&format!("{name}: ")) && !message.contains("secret"),
                "{message}"
            );
        }
    }
    let mut variables = good.clone();
    variables[0].1 = format!("{}{}", good[0].1, good[3].1);
    let message = identity_of(&variables).unwrap_err().to_string();
    assert_eq!(
        message,
        "MARBLE_PREDEFINED_ROOT_CA: expected one certificate, PEM"
    );
}

#[test]
fn a_key_that_is_not_of_the_certificate_is_refused() {
    let deployment = Deployment::new();
    let mut variables = deployment.environment(UUID, Some("backend"), "localhost");
    variables[2] = deployment
        .environment(UUID, Some("backend"), "localhost")
        .remove(2);
    let identity = identity_of(&variables).unwrap();
    for refused in [
        tls::server_config(&identity).err(),
        tls::client_config(&identity).err(),
    ] {
        assert!(
            refused
                .unwrap()
                .to_string()
                .starts_with("certificate chain and private key cannot be used: ")
        );
    }
}

#[test]
fn sessions_are_never_resumed() {
    let deployment = Deployment::new();
    let server = tls::server_config(&deployment.marble(UUID, "backend", "localhost")).unwrap();
    assert_eq!(server.send_tls13_tickets, 0);
    assert!(!server.session_storage.can_cache());
    assert_eq!(server.max_early_data_size, 0);
}
