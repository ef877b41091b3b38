//! What a refused attempt of a stranger costs: little time, and no memory.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::memory::resident;
use crate::support::program::{OTHER_PROGRAM, Program, csr, start, uuid};
use crate::support::users::Users;
use crate::support::{ClientIdentity, connect};

/// Attempts of each kind that are measured.
const ATTEMPTS: u32 = 50;
/// Time of one processor for an attempt: of an optimised program, which is named to the tests, and of the one that they
/// come with, which is not.
const MOST: Duration = Duration::from_micros(1_500);
const MOST_UNOPTIMISED: Duration = Duration::from_millis(10);
/// Memory that may come and go meanwhile, whatever was asked: pages, not attempts.
const PAGES: u64 = 512 << 10;

/// Things a stranger tries that are refused.
#[derive(Debug, Clone, Copy)]
enum Attempt {
    HalfAHandshake,
    NotTls,
    HandshakeAlone,
    UnknownPath,
    SecretsOfNobody,
    UploadOfNobody,
    ManifestAgain,
    UpdateOfNobody,
    RecoveryOutOfPhase,
    BrokenQuoteToSign,
    CounterOfNobody,
    BadNonce,
    UnknownMarbleType,
    BrokenRequestOfMarble,
    BadUuid,
}

use Attempt::*;

const ALL: [Attempt; 15] = [
    HalfAHandshake,
    NotTls,
    HandshakeAlone,
    UnknownPath,
    SecretsOfNobody,
    UploadOfNobody,
    ManifestAgain,
    UpdateOfNobody,
    RecoveryOutOfPhase,
    BrokenQuoteToSign,
    CounterOfNobody,
    BadNonce,
    UnknownMarbleType,
    BrokenRequestOfMarble,
    BadUuid,
];

/// Sends something, says that nothing more comes, and waits until the server has closed, too.
async fn send_and_leave(address: std::net::SocketAddr, bytes: &[u8]) {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(bytes).await.unwrap();
    tcp.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = tcp.read_to_end(&mut answer).await;
}

async fn attempt(program: &Program, stranger: &ClientIdentity, what: Attempt) {
    let large = || "x".repeat(20_000);
    let ask = async |method: &str, path: &str, body: String| {
        let (code, reply) = program.ask_as(stranger, method, path, body).await;
        assert!(code >= 400, "{what:?}: {code} {reply}");
    };
    let activate = async |marble_type: &str, uuid: String, csr: Vec<u8>| {
        let request = marblerun_wire::marble::ActivationReq {
            quote: Vec::new(),
            csr,
            marble_type: marble_type.to_owned(),
            uuid,
        };
        let refused = program.marble().await.activate(request).await;
        assert!(refused.is_err(), "{what:?}");
    };
    match what {
        HalfAHandshake => {
            let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
            send_and_leave(program.client, &hello).await;
        }
        NotTls => send_and_leave(program.mesh, b"GET / HTTP/1.1\r\n\r\n").await,
        HandshakeAlone => drop(connect(program.client, Some(stranger), &["h2"]).await.unwrap()),
        UnknownPath => ask("GET", "/api/v3/everything", String::new()).await,
        SecretsOfNobody => ask("GET", "/api/v2/secrets?s=token", String::new()).await,
        UploadOfNobody => ask("POST", "/api/v2/secrets", large()).await,
        ManifestAgain => ask("POST", "/manifest", large()).await,
        UpdateOfNobody => ask("POST", "/api/v2/update", large()).await,
        RecoveryOutOfPhase => ask("POST", "/api/v2/recover", large()).await,
        BrokenQuoteToSign => ask("POST", "/api/v2/sign-quote", r#"{"sgxQuote":"AAAA"}"#.to_owned()).await,
        CounterOfNobody => ask("POST", "/api/v2/monotonic-counter", large()).await,
        BadNonce => ask("GET", "/api/v2/quote?nonce=%21", String::new()).await,
        UnknownMarbleType => activate("nothing", uuid(), csr()).await,
        BrokenRequestOfMarble => activate("plain", uuid(), vec![0x30; 8_000]).await,
        BadUuid => activate("plain", "not a uuid".to_owned(), csr()).await,
    }
}

/// Time of processors the program has used.
pub fn used(program: &Program) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", program.pid())).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let times = fields.split_ascii_whitespace().skip(11).take(2);
    let ticks: u64 = times.map(|time| time.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

#[tokio::test]
async fn attempts_of_strangers_cost_little_and_leave_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (program, users) = (start(directory.path(), &[]), Users::new());
    program.set_manifest(&users.manifest()).await;
    for _ in 0..8 {
        for what in ALL {
            attempt(&program, &users.nobody, what).await;
        }
    }
    let most = match std::env::var_os(OTHER_PROGRAM) {
        Some(_) => MOST,
        None => MOST_UNOPTIMISED,
    };
    println!(
        "{:>24} {:>14} {:>14}",
        "refused attempt", "µs of CPU", "bytes kept"
    );
    let mut wrong = Vec::new();
    for what in ALL {
        let cpu = used(&program);
        for _ in 0..ATTEMPTS {
            attempt(&program, &users.nobody, what).await;
        }
        let each = (used(&program) - cpu) / ATTEMPTS;
        // What came with the first ones is room that the next ones use again.
        let memory = resident(&program);
        for _ in 0..ATTEMPTS {
            attempt(&program, &users.nobody, what).await;
        }
        let kept = resident(&program).saturating_sub(memory);
        println!(
            "{:>24} {:>14} {:>14}",
            format!("{what:?}"),
            each.as_micros(),
            kept
        );
        if each > most || kept > PAGES {
            wrong.push(format!("{what:?}: {each:?}, {kept} bytes"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
