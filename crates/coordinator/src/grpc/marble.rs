//! The Marble API (`spec/04`): service `rpc.Marble`, one method.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse as _;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use marblerun_collateral::Asker;
use marblerun_core::flow::activate;
use marblerun_core::refusal::{Refusal, RefusalKind};
use marblerun_wire::marble::{
    ActivationReq, ActivationResp, Marble, MarbleServer, Parameters, REPLY_LIMIT, REQUEST_LIMIT,
};
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};
use zeroize::Zeroizing;

use crate::config::LogLevel;
use crate::listen::{Api, PeerAddress, PeerCertificate};
use crate::observe::metrics::metrics;
use crate::observe::{at_level, counts};
use crate::service::{ActivationRequest, Service};

/// The one method.
pub(crate) const ACTIVATE: &str = "/rpc.Marble/Activate";

/// Bytes of a refusal that are sent: it travels in a header, and HTTP/2 peers limit those.
const LONGEST_MESSAGE: usize = 4 << 10;

/// The Marble API of a Coordinator.
pub fn api(service: Service, error_level: LogLevel) -> Api {
    let server = MarbleServer::new(MarbleApi { service })
        .max_decoding_message_size(REQUEST_LIMIT)
        .max_encoding_message_size(REPLY_LIMIT);
    let routes = Routes::new(server).prepare().into_axum_router();
    let router = routes.layer(from_fn(counted));
    Api {
        name: "marble",
        router,
        on_panic: after_panic,
        error_level,
        of_marbles: true,
    }
}

/// Whether the message of a request was read, for whoever counts requests.
#[derive(Clone, Default)]
struct Received(Arc<AtomicBool>);

/// Counts each request and its answer, also where there is no such method, or what came is no message.
async fn counted(mut request: http::Request<Body>, next: Next) -> axum::response::Response {
    if let Some(refused) = unless_grpc(&request) {
        counts::no_such_operation();
        return refused;
    }
    if request.uri().path() != ACTIVATE {
        counts::no_such_operation();
        return next.run(request).await;
    }
    let received = Received::default();
    request.extensions_mut().insert(received.clone());
    metrics().grpc_started();
    let response = next.run(request).await;
    // A reply with a message has its code behind it, where it is always that of success.
    let code = response
        .headers()
        .get("grpc-status")
        .map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()));
    metrics().grpc_handled(code);
    if !received.0.load(Ordering::Relaxed) {
        counts::refused(RefusalKind::Malformed);
    }
    response
}

/// The answer to what is no request of gRPC: a status of HTTP, so that no client of HTTP takes it for success (gRPC over
/// HTTP/2, "Requests": 415 for another content type).
fn unless_grpc(request: &http::Request<Body>) -> Option<axum::response::Response> {
    if request.method() != Method::POST {
        let text = "expected a request of gRPC, which is a POST\n";
        return Some((StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "POST")], text).into_response());
    }
    let content = request
        .headers()
        .get(CONTENT_TYPE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let essence = content.split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    if let Some([] | [b'+', ..]) = essence.strip_prefix(b"application/grpc") {
        return None;
    }
    let text = "content-type: expected application/grpc, as requests of gRPC have it\n";
    Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response())
}

struct MarbleApi {
    service: Service,
}

#[tonic::async_trait]
impl Marble for MarbleApi {
    async fn activate(&self, request: Request<ActivationReq>) -> Result<Response<ActivationResp>, Status> {
        if let Some(Received(received)) = request.extensions().get() {
            received.store(true, Ordering::Relaxed);
        }
        metrics().grpc_received();
        self.answer(request).await
    }
}

impl MarbleApi {
    async fn answer(&self, request: Request<ActivationReq>) -> Result<Response<ActivationResp>, Status> {
        let asked = Asked::of(request.get_ref());
        // Phase and type cost nothing to check; evidence does.
        activate::examine(&self.service.snapshot(), &request.get_ref().marble_type)
            .map_err(|refusal| asked.refuse(&refusal))?;
        let counted = metrics().activation_begins(&request.get_ref().marble_type);
        let Some(PeerCertificate(certificate)) = request.extensions().get().cloned() else {
            counts::refused(RefusalKind::Unauthenticated);
            return Err(Status::unauthenticated("a TLS client certificate is required"));
        };
        let asker = match request.extensions().get() {
            Some(PeerAddress(address)) => Asker::Peer(*address),
            None => Asker::Stranger,
        };
        let ActivationReq {
            quote,
            csr,
            marble_type,
            uuid,
        } = request.into_inner();
        let shown = if metrics().events.remembers() {
            quote.clone()
        } else {
            Vec::new()
        };
        let admission = self.service.judge().admit(quote, &certificate, asker).await;
        let request = ActivationRequest {
            marble_type,
            uuid,
            csr,
            admission: admission.map_err(|refusal| asked.refuse(&refusal))?,
            fits,
        };
        let activated = self.service.activate(request).await;
        let activated = activated.map_err(|refusal| asked.refuse(&refusal))?;
        if !counted {
            metrics().activation_admitted(&activated.marble_type);
        }
        metrics().activation_succeeded(&activated.marble_type);
        let uuid = activated.uuid.to_string();
        metrics().events.activated(&activated.marble_type, uuid, &shown);
        tracing::info!(marble_type = &*activated.marble_type, uuid = %activated.uuid, "marble activated");
        let parameters = Some(on_the_wire(&activated.parameters));
        Ok(Response::new(ActivationResp { parameters }))
    }
}

/// Who asked to be activated, as it says: what a log line of a refusal needs to be understood by itself.
struct Asked {
    marble_type: String,
    uuid: String,
}

impl Asked {
    /// What strangers send is repeated, but not at any length.
    fn of(request: &ActivationReq) -> Self {
        let short = |text: &str| text.chars().take(100).collect();
        Self {
            marble_type: short(&request.marble_type),
            uuid: short(&request.uuid),
        }
    }

    fn refuse(&self, refusal: &Refusal) -> Status {
        let Self { marble_type, uuid } = self;
        let kind = refusal.kind();
        counts::refused(kind);
        match kind {
            RefusalKind::Internal => {
                tracing::error!(
                    marble_type,
                    uuid,
                    message = refusal.message(),
                    detail = refusal.detail(),
                    "activation failed"
                );
            }
            _ => at_level!(
                LogLevel::Warn,
                ?kind,
                marble_type,
                uuid,
                reason = refusal.message(),
                detail = refusal.detail(),
                "activation refused"
            ),
        }
        Status::new(code(kind), shortened(refusal.message()))
    }
}

/// The code of a refusal. The only place where kinds become codes.
fn code(kind: RefusalKind) -> Code {
    match kind {
        RefusalKind::WrongPhase => Code::FailedPrecondition,
        RefusalKind::Invalid | RefusalKind::Malformed => Code::InvalidArgument,
        RefusalKind::Unauthenticated => Code::Unauthenticated,
        RefusalKind::Denied | RefusalKind::FeatureDisabled => Code::PermissionDenied,
        RefusalKind::NotFound => Code::NotFound,
        RefusalKind::Conflict => Code::Aborted,
        RefusalKind::Unavailable => Code::Unavailable,
        RefusalKind::TooLarge | RefusalKind::Internal => Code::Internal,
    }
}

fn shortened(message: &str) -> String {
    match message
        .char_indices()
        .find(|(at, character)| at + character.len_utf8() > LONGEST_MESSAGE)
    {
        None => message.to_owned(),
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
    }
}

fn after_panic() -> axum::response::Response {
    counts::refused(RefusalKind::Internal);
    Status::internal("internal error, see the Coordinator's log").into_http()
}

fn on_the_wire(parameters: &activate::Parameters) -> Parameters {
    let mut message = Parameters::default();
    message.files = parameters
        .files
        .iter()
        .map(|(path, content)| (path.to_string(), content.to_vec()))
        .collect();
    message.env = parameters
        .env
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_vec()))
        .collect();
    message.argv.clone_from(&parameters.argv);
    message
}

/// Refuses a reply that existing marbles would not take (`spec/04`, step 6), before anything is spent for it.
fn fits(parameters: &activate::Parameters) -> Result<(), Refusal> {
    let size = encoded_size(parameters);
    if size <= REPLY_LIMIT {
        return Ok(());
    }
    let message = format!("the reply has {size} bytes, more than the {REPLY_LIMIT} that marbles accept");
    Err(Refusal::new(RefusalKind::TooLarge, message))
}

/// Length of the encoded [`ActivationResp`], without making it: every field here has a number below 16, so its
/// tag takes one byte, and empty strings and bytes are left out of map entries.
fn encoded_size(parameters: &activate::Parameters) -> usize {
    let field = |length: usize| 1 + length_of_varint(length) + length;
    let optional = |length: usize| if length == 0 { 0 } else { field(length) };
    let entry = |name: &str, value: &Zeroizing<Vec<u8>>| field(optional(name.len()) + optional(value.len()));
    let entries = parameters
        .files
        .iter()
        .chain(&parameters.env)
        .map(|(name, value)| entry(name, value));
    let arguments = parameters.argv.iter().map(|argument| field(argument.len()));
    field(entries.chain(arguments).sum())
}

fn length_of_varint(value: usize) -> usize {
    let bits = usize::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    fn parameters(content: usize) -> activate::Parameters {
        let bytes = |length: usize| Zeroizing::new(vec![b'x'; length]);
        activate::Parameters {
            files: [("/a".into(), bytes(content)), ("/empty".into(), bytes(0))].into(),
            env: [("NAME".into(), bytes(127)), ("OTHER".into(), bytes(128))].into(),
            argv: vec!["./a".to_owned(), String::new()],
        }
    }

    #[test]
    fn the_size_is_that_of_the_encoded_reply() {
        for content in [0, 1, 100, 120, 127, 128, 16_000, 16_383, 16_384, 3_000_000] {
            let parameters = parameters(content);
            let message = ActivationResp {
                parameters: Some(on_the_wire(&parameters)),
            };
            assert_eq!(encoded_size(&parameters), message.encoded_len(), "{content}");
        }
    }

    #[test]
    fn too_large_a_reply_is_refused_by_its_size() {
        assert!(fits(&parameters(REPLY_LIMIT - 400)).is_ok());
        let refusal = fits(&parameters(REPLY_LIMIT)).unwrap_err();
        assert_eq!(code(refusal.kind()), Code::Internal);
        assert!(refusal.message().contains("4194304"), "{refusal}");
    }

    #[test]
    fn codes_are_those_of_the_contract() {
        use RefusalKind::*;
        let kinds = [
            WrongPhase,
            Invalid,
            Denied,
            NotFound,
            Conflict,
            TooLarge,
            Unavailable,
            Internal,
        ];
        assert_eq!(
            kinds.map(|kind| code(kind) as i32),
            [9, 3, 7, 5, 10, 13, 14, 13],
            "FAILED_PRECONDITION, INVALID_ARGUMENT, PERMISSION_DENIED, NOT_FOUND, ABORTED, INTERNAL, UNAVAILABLE, INTERNAL"
        );
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        assert_eq!(shortened("ok"), "ok");
        let cut = shortened(&"ä".repeat(LONGEST_MESSAGE));
        assert!(cut.len() <= LONGEST_MESSAGE + '…'.len_utf8() && cut.ends_with("ä…"));
    }
}
