//! What users ask for: secrets and updates.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod server;

use std::sync::atomic::Ordering;

use http::{Response, StatusCode};
use marblerun_client::rest::{Base64Secret, text, v2};
use marblerun_client::{Attested, ClientIdentity, Connector, Pin, RequestError};
use server::{Authority, Body, Server, certified, json};

/// A Coordinator that answers as `answer`, and a user's connection to it.
async fn connected<A>(answer: A) -> (Server, Attested)
where
    A: Fn(&str) -> Response<Body> + Send + Sync + Clone + 'static,
{
    let root = Authority::new(&["localhost"]);
    let server = Server::start(certified(&root, &root), &["h2", "http/1.1"], answer).await;
    let user = ClientIdentity::from_pem(
        include_bytes!("keys/sec1.crt.pem"),
        include_bytes!("keys/sec1.key.pem"),
    )
    .unwrap();
    let coordinator = Connector::new(format!("localhost:{}", server.port).parse().unwrap())
        .with_identity(user)
        .pinned(&Pin::new(root.der()))
        .await
        .unwrap();
    (server, coordinator)
}

fn with_status(status: u16, body: &str) -> Response<Body> {
    let mut response = json(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

#[tokio::test]
async fn updates_are_sent_as_they_are_and_replies_understood() {
    let (server, coordinator) = connected(|line| {
        json(match line {
            "POST /api/v2/update" => {
                r#"{"status":"success","data":{"missingAcknowledgments":1,"missingUsers":["bob"]}}"#
            }
            "GET /api/v2/update-manifest" => {
                r#"{"status":"success","data":{"manifest":"e30K","message":"1 user still needs to acknowledge the update manifest","missingUsers":["bob"]}}"#
            }
            "POST /api/v2/update-manifest" => {
                r#"{"status":"success","data":{"message":"All users have acknowledged the update manifest. Update successfully applied","missingUsers":null,"missingAcknowledgments":0,"recoverySecrets":{"one":"AQI="}}}"#
            }
            _ => r#"{"status":"success","data":{"message":"Update successfully cancelled"}}"#,
        })
    })
    .await;
    let manifest = b"{}\n";
    let received = coordinator.propose_update(manifest).await.unwrap();
    assert_eq!(received.missing_acknowledgments, 1);
    assert_eq!(received.missing_users, Some(vec!["bob".to_owned()]));
    assert_eq!(received.recovery_secrets, None);
    assert_eq!(coordinator.pending_update().await.unwrap().manifest.0, manifest);
    let acknowledged = coordinator.acknowledge_update(manifest).await.unwrap();
    assert_eq!(acknowledged.message, text::UPDATE_APPLIED);
    assert_eq!(acknowledged.recovery_secrets.unwrap().0["one"].0, [1, 2]);
    assert_eq!(
        coordinator.cancel_update().await.unwrap().message,
        text::UPDATE_CANCELLED
    );
    let asked = server.asked();
    let sent: Vec<(&str, &[u8])> = asked
        .iter()
        .map(|asked| (asked.line.as_str(), asked.body.as_ref()))
        .collect();
    assert_eq!(
        sent,
        [
            ("POST /api/v2/update", &b"{\"manifest\":\"e30K\"}\n"[..]),
            ("GET /api/v2/update-manifest", b""),
            ("POST /api/v2/update-manifest", b"{\"manifest\":\"e30K\"}\n"),
            ("POST /api/v2/update-cancel", b""),
        ]
    );
    let address = format!("localhost:{}", server.port);
    assert!(
        asked
            .iter()
            .all(|asked| asked.client_certificate.is_some() && asked.host == address)
    );
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn names_of_secrets_travel_whole() {
    let (server, coordinator) = connected(|_| {
        json(r#"{"status":"success","data":{"secrets":{"a&b=c d%é":{"Type":"plain","Size":0,"Shared":false,"UserDefined":true,"Cert":null,"ValidFor":0,"Private":"aGk=","Public":"aGk="},"x":{"Type":"plain","Private":null}}}}"#)
    })
    .await;
    let secrets = coordinator.read_secrets(&["a&b=c d%é", "x"]).await.unwrap();
    assert_eq!(secrets.0["a&b=c d%é"].private.as_ref().unwrap().expose(), b"hi");
    assert!(secrets.0["x"].private.is_none());
    assert_eq!(
        server.asked()[0].line,
        "GET /api/v2/secrets?s=a%26b%3Dc%20d%25%C3%A9&s=x"
    );
    // An answer without what was asked for is none.
    let error = coordinator.read_secrets(&["x", "y"]).await.err().unwrap();
    assert!(
        matches!(error, RequestError::NotAnAnswer { .. }) && error.to_string().contains("\"y\""),
        "{error}"
    );
}

#[tokio::test]
async fn secrets_are_written_and_the_empty_answer_taken() {
    let (server, coordinator) = connected(|_| json("{\"status\":\"success\",\"data\":null}\n")).await;
    let value = v2::UploadedSecret {
        key: Some(Base64Secret::decode("aGk=").unwrap()),
        ..v2::UploadedSecret::default()
    };
    let upload = v2::UploadSecrets {
        secrets: [("token".to_owned(), value)].into_iter().collect(),
    };
    coordinator.write_secrets(&upload).await.unwrap();
    let asked = server.asked();
    assert_eq!(asked[0].line, "POST /api/v2/secrets");
    assert_eq!(
        asked[0].body,
        &b"{\"secrets\":{\"token\":{\"Key\":\"aGk=\"}}}\n"[..]
    );
}

#[tokio::test]
async fn refusals_keep_status_and_message() {
    let (_server, coordinator) = connected(|line| match line {
        "POST /api/v2/update-cancel" => {
            with_status(404, r#"{"status":"error","data":null,"message":"no update in progress"}"#)
        }
        "POST /api/v2/secrets" => with_status(
            401,
            r#"{"status":"fail","data":null,"message":"unauthorized user: client certificate did not match any MarbleRun users"}"#,
        ),
        _ => with_status(405, "{\"status\":\"error\",\"data\":null}\n"),
    })
    .await;
    let error = coordinator.cancel_update().await.unwrap_err();
    assert!(
        matches!(&error, RequestError::Refused { status: 404, message, .. } if message == text::NO_UPDATE_IN_PROGRESS),
        "{error}"
    );
    let error = coordinator
        .write_secrets(&v2::UploadSecrets::default())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, RequestError::Refused { status: 401, message, .. } if message.starts_with(text::UNAUTHORIZED_USER)),
        "{error}"
    );
    // A Coordinator that does not know these endpoints.
    for (error, request) in [
        (
            coordinator.propose_update(b"{}").await.err().unwrap(),
            "POST /api/v2/update",
        ),
        (
            coordinator.acknowledge_update(b"{}").await.err().unwrap(),
            "POST /api/v2/update-manifest",
        ),
        (
            coordinator.pending_update().await.err().unwrap(),
            "GET /api/v2/update-manifest",
        ),
        (
            coordinator.read_secrets(&["token"]).await.err().unwrap(),
            "GET /api/v2/secrets",
        ),
    ] {
        assert!(matches!(error, RequestError::NotOffered { .. }), "{error}");
        assert_eq!(
            error.to_string(),
            format!(
                "the Coordinator does not offer {request} (HTTP 405): its version does not know this endpoint"
            )
        );
    }
}
