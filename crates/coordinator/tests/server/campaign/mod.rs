//! Hostile and slow peers in numbers: a campaign against the program itself, which `cargo xtask hostile` builds for it.
//! Each number is printed beside what it has to be.

mod flood;
mod measure;
mod planted;
mod slow;
mod unread;

use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::program::{Program, start, uuid};
use crate::support::users::Users;
use crate::support::{ClientIdentity, Tls, client_config, connect_with, http1, http2, request};
use flood::{FLOODS, Sent};
use measure::{Report, SLOWER, Target, activations, median, megabytes, p99, unless_slower};
use slow::{Slow, Victim};

/// `quick` or `full`.
const EXTENT: &str = "MARBLERUN_HOSTILE";

/// How much of everything.
#[derive(Clone, Copy)]
struct Extent {
    idle: usize,
    half_open: usize,
    /// Of measuring activations with and without company.
    rounds: usize,
    activations: usize,
    /// Whether to wait for what takes more than a quarter of a minute.
    patient: bool,
}

const QUICK: Extent = Extent {
    idle: 1_000,
    half_open: 300,
    rounds: 3,
    activations: 100,
    patient: false,
};
const FULL: Extent = Extent {
    idle: 10_000,
    half_open: 1_000,
    rounds: 7,
    activations: 300,
    patient: true,
};

/// What a body may not be.
const FAR_TOO_LARGE: u64 = 400_000_000;
/// For the Coordinator, whatever happens; megabytes.
const MOST_MEMORY: Target = Target::AtMost(160.0);
/// Seconds; time-outs of 10 with what a busy machine adds.
const TEN_SECONDS: Target = Target::Between(9.0, 12.0);

#[test]
#[ignore = "a campaign of a minute or ten: cargo xtask hostile"]
fn hostile_peers() {
    let extent = match std::env::var(EXTENT).as_deref() {
        Ok("full") => FULL,
        _ => QUICK,
    };
    // The Coordinator divides what it has between its listeners; four of five that idle go to one of them.
    raise_limit_of_descriptors(2 * (extent.idle * 4 / 5 + extent.half_open / 2) + 500);
    // Those who mean no good get what the processor has left: what they keep the Coordinator from is measured, not
    // what they keep the measuring from.
    let hostile = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .on_thread_start(|| {
            let _ = rustix::process::nice(19);
        })
        .build()
        .unwrap();
    let measuring = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let report = measuring.block_on(campaign(extent, hostile.handle()));
    hostile.shutdown_background();
    report.conclude();
}

async fn campaign(extent: Extent, hostile: &Handle) -> Report {
    let mut report = Report::default();
    let directory = tempfile::tempdir().unwrap();
    let (program, users) = (Arc::new(start(directory.path(), &[])), Users::new());
    report.number("memory at the start", megabytes(&program), "MB", MOST_MEMORY);

    bodies_of_strangers(&program, &mut report, hostile).await;
    program.set_manifest(&users.manifest()).await;
    bodies_of_callers(&program, &users, &mut report, hostile).await;
    time_outs(&program, &users, extent, &mut report, hostile).await;
    floods(&program, &mut report, hostile).await;
    company(&program, extent, &mut report, hostile).await;
    unread::replies(&program, &mut report, hostile).await;
    if extent.patient {
        not_reading(&program, &mut report, hostile).await;
    }

    let (code, _) = program.ask("GET", "/status", "").await;
    report.fact("it still serves", code, 200);
    report.number("memory at the end", megabytes(&program), "MB", MOST_MEMORY);
    report.number(
        "the most memory it ever took",
        most_megabytes(&program),
        "MB",
        MOST_MEMORY,
    );
    let log = program.log();
    report.fact("panics in its log", log.matches("panicked").count(), 0);
    report
}

/// In the phase in which strangers may set a manifest.
async fn bodies_of_strangers(program: &Arc<Program>, report: &mut Report, hostile: &Handle) {
    for path in [
        "/manifest",
        "/api/v2/manifest",
        "/api/v2/recover",
        "/api/v2/monotonic-counter",
    ] {
        let expected = match path {
            // Refused before anything is read: no gate is open, and nothing waits for recovery.
            "/api/v2/monotonic-counter" => 403,
            "/api/v2/recover" => 500,
            _ => 413,
        };
        for sent in [Sent::Announced, Sent::Chunked, Sent::Streamed] {
            let address = program.client;
            let code = on(hostile, async move {
                sent.post(address, None, path, FAR_TOO_LARGE).await
            })
            .await;
            report.fact(&format!("400 MB to {path}, {sent:?}"), code, expected);
        }
    }
}

async fn bodies_of_callers(program: &Arc<Program>, users: &Users, report: &mut Report, hostile: &Handle) {
    for (path, identity, expected) in [
        ("/secrets", &users.admin, 413),
        ("/api/v2/secrets", &users.admin, 413),
        ("/api/v2/update", &users.alice, 413),
        ("/api/v2/update-manifest", &users.alice, 413),
        ("/api/v2/sign-quote", &users.nobody, 413),
        ("/api/v2/secrets", &users.nobody, 401),
        ("/api/v2/update", &users.nobody, 401),
    ] {
        for sent in [Sent::Announced, Sent::Streamed] {
            let (address, identity) = (program.client, identity.clone());
            let answer = async move { sent.post(address, Some(&identity), path, FAR_TOO_LARGE).await };
            report.fact(
                &format!("400 MB to {path}, {sent:?}"),
                on(hostile, answer).await,
                expected,
            );
        }
    }
    // gRPC says no with 200 and a status, or the stream is reset: either way it is over, and little was kept.
    let (address, identity) = (program.mesh, users.nobody.clone());
    let began = Instant::now();
    on(hostile, async move {
        Sent::Streamed
            .post(address, Some(&identity), "/rpc.Marble/Activate", FAR_TOO_LARGE)
            .await
    })
    .await;
    let took = began.elapsed().as_secs_f64();
    report.number(
        "400 MB to the Marble API, until refused",
        took,
        "s",
        Target::AtMost(12.0),
    );
    report.number(
        "memory with and after bodies of 400 MB",
        most_megabytes(program),
        "MB",
        MOST_MEMORY,
    );
}

/// All slow peers at the same time.
async fn time_outs(
    program: &Arc<Program>,
    users: &Users,
    extent: Extent,
    report: &mut Report,
    hostile: &Handle,
) {
    let client = Victim {
        address: program.client,
        path: "/update",
        identity: Some(users.alice.clone()),
        drip: Duration::from_millis(200),
    };
    let mesh = Victim {
        address: program.mesh,
        path: "/rpc.Marble/Activate",
        identity: Some(ClientIdentity::self_signed()),
        ..client.clone()
    };
    let of_client = [
        Slow::Silent,
        Slow::HalfHello,
        Slow::DrippingHello,
        Slow::NoRequest,
        Slow::NoPreface,
        Slow::DrippingHeader,
        Slow::DrippingFrames,
        Slow::HalfBody,
        Slow::HalfBodyOfStream,
    ];
    let of_mesh = [
        Slow::Silent,
        Slow::HalfHello,
        Slow::NoPreface,
        Slow::DrippingFrames,
        Slow::HalfBodyOfStream,
    ];
    let mut peers = Vec::new();
    for (api, victim, slow) in [
        ("client", &client, &of_client[..]),
        ("Marble", &mesh, &of_mesh[..]),
    ] {
        for &slow in slow {
            let victim = victim.clone();
            let borne = hostile.spawn(async move { slow.borne(&victim, Duration::from_secs(30)).await });
            peers.push((format!("{api} API, {slow:?}: closed after"), borne, TEN_SECONDS));
        }
    }
    if extent.patient {
        let victim = client.clone();
        let borne =
            hostile.spawn(async move { Slow::DrippingBody.borne(&victim, Duration::from_secs(90)).await });
        let name = "client API, DrippingBody: closed after".to_owned();
        peers.push((name, borne, Target::Between(28.0, 45.0)));
    }
    for (name, borne, target) in peers {
        let seconds = borne
            .await
            .unwrap()
            .map_or(f64::INFINITY, |borne| borne.as_secs_f64());
        report.number(&name, seconds, "s", target);
    }
}

/// One flood of each kind, alone: how long it lasts, and what it costs.
async fn floods(program: &Arc<Program>, report: &mut Report, hostile: &Handle) {
    let identity = ClientIdentity::self_signed();
    for flood in FLOODS {
        for (api, address) in [("client", program.client), ("Marble", program.mesh)] {
            let (used, identity) = (crate::refused::used(program), identity.clone());
            let patience = Duration::from_secs(20);
            let flooding = async move { flood.borne(address, Some(&identity), patience).await };
            let borne = on(hostile, flooding).await;
            let seconds = borne.map_or(f64::INFINITY, |borne| borne.as_secs_f64());
            let cost = (crate::refused::used(program) - used).as_secs_f64() * 1e3;
            let name = format!("{api} API, flood of {flood:?}");
            report.number(
                &format!("{name}: closed after"),
                seconds,
                "s",
                Target::AtMost(5.0),
            );
            report.number(
                &format!("{name}: processor time"),
                cost,
                "ms",
                Target::AtMost(150.0),
            );
        }
    }
}

/// Activations beside others, in turns with activations alone: by what factor the slowest of a hundred takes longer.
async fn company(program: &Arc<Program>, extent: Extent, report: &mut Report, hostile: &Handle) {
    let mut quiet_times = Vec::new();
    activations(program, extent.activations).await;
    for (which, name) in ["half-open connections", "floods", "bodies of 400 MB"]
        .into_iter()
        .enumerate()
    {
        let ratio = unless_slower(async || {
            let (mut alone, mut beside) = (Vec::new(), Vec::new());
            for _ in 0..extent.rounds {
                let quiet = p99(activations(program, extent.activations).await);
                let (stop, stopped) = watch::channel(false);
                let company = match which {
                    0 => hostile.spawn(half_open(Arc::clone(program), extent.half_open, stopped)),
                    1 => hostile.spawn(flooding(Arc::clone(program), stopped)),
                    _ => hostile.spawn(posting(Arc::clone(program), stopped)),
                };
                sleep(Duration::from_millis(500)).await;
                let disturbed = p99(activations(program, extent.activations).await);
                stop.send(true).unwrap();
                company.await.unwrap();
                quiet_times.push(quiet);
                alone.push(quiet);
                beside.push(disturbed);
            }
            (median(alone), median(beside))
        });
        let name = format!("activation beside {name}, p99 by that alone");
        report.number(&name, ratio.await, "×", Target::AtMost(SLOWER));
    }
    report.number(
        "activation alone, p99",
        median(quiet_times),
        "ms",
        Target::AtMost(1_000.0),
    );
    idle(program, extent, report, hostile).await;
}

/// Holds so many connections that never say a word, and opens new ones for those that are closed.
async fn half_open(program: Arc<Program>, count: usize, mut stop: watch::Receiver<bool>) {
    let mut open = JoinSet::new();
    let hold = |open: &mut JoinSet<()>, number: usize| {
        let address = if number.is_multiple_of(2) {
            program.client
        } else {
            program.mesh
        };
        open.spawn(async move {
            let tcp = TcpStream::connect(address).await.unwrap();
            let _ = tcp.readable().await;
        });
    };
    for number in 0..count {
        hold(&mut open, number);
    }
    let go_on = async {
        while open.join_next().await.is_some() {
            hold(&mut open, count);
        }
    };
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = go_on => {}
    }
}

/// Floods of all kinds, each again a while after it was closed.
async fn flooding(program: Arc<Program>, mut stop: watch::Receiver<bool>) {
    let mut floods = JoinSet::new();
    let identity = ClientIdentity::self_signed();
    for (address, flood) in [program.client, program.mesh]
        .into_iter()
        .flat_map(|address| FLOODS.map(|flood| (address, flood)))
    {
        let identity = identity.clone();
        floods.spawn(async move {
            loop {
                flood
                    .borne(address, Some(&identity), Duration::from_secs(10))
                    .await;
                sleep(Duration::from_millis(500)).await;
            }
        });
    }
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Bodies that are far too large, two at a time.
async fn posting(program: Arc<Program>, mut stop: watch::Receiver<bool>) {
    let mut posts = JoinSet::new();
    for sent in [Sent::Chunked, Sent::Streamed] {
        let address = program.client;
        posts.spawn(async move {
            loop {
                sent.post(address, None, "/manifest", FAR_TOO_LARGE).await;
                sleep(Duration::from_millis(100)).await;
            }
        });
    }
    let _ = stop.wait_for(|stop| *stop).await;
}

/// What one of many idle peers holds: its connection.
type Idle = Box<dyn Any + Send>;

/// So many, of both APIs, opened by several at a time. Those that are closed meanwhile are let go.
async fn open_idle(program: Arc<Program>, count: usize, asks: bool) -> Vec<Idle> {
    const AT_ONCE: usize = 20;
    let mut tasks = JoinSet::new();
    let identity = ClientIdentity::self_signed();
    let configs = [
        client_config(None, &["http/1.1"]),
        client_config(Some(&identity), &["h2"]),
    ];
    let configs = Arc::new(configs.map(Arc::new));
    for _ in 0..AT_ONCE {
        let (program, configs) = (Arc::clone(&program), Arc::clone(&configs));
        tasks.spawn(async move {
            let mut some = Vec::new();
            for number in 0..count / AT_ONCE {
                let [http1, http2] = &*configs;
                let (address, config) = match number % 5 {
                    0..2 => (program.client, http1),
                    2..4 => (program.client, http2),
                    _ => (program.mesh, http2),
                };
                let tls = connect_with(address, Arc::clone(config)).await;
                let idle = async { idle_on(tls.ok()?, asks).await };
                some.extend(idle.await);
            }
            some
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

async fn idle_on(tls: Tls, asks: bool) -> Option<Idle> {
    if !asks {
        return Some(Box::new(tls));
    }
    if tls.get_ref().1.alpn_protocol() == Some(b"h2") {
        let mut sender = http2(tls).await;
        let get = http::Request::get("https://localhost/status")
            .body(Default::default())
            .ok()?;
        crate::support::read(sender.send_request(get).await.ok()?).await;
        Some(Box::new(sender))
    } else {
        let mut sender = http1(tls).await;
        let reply = sender.send_request(request("GET", "/status", "")).await.ok()?;
        crate::support::read(reply).await;
        Some(Box::new(sender))
    }
}

async fn p99_of_three(program: &Program, count: usize) -> f64 {
    let mut numbers = Vec::new();
    for _ in 0..3 {
        numbers.push(p99(activations(program, count).await));
    }
    median(numbers)
}

/// Many connections that do nothing, and half-open ones beside them.
async fn idle(program: &Arc<Program>, extent: Extent, report: &mut Report, hostile: &Handle) {
    for asks in [false, true] {
        // They are opened anew for each measurement: who only shook hands is not kept for long.
        let ratio = unless_slower(async || beside_idle(program, extent, report, hostile, asks).await).await;
        report.number(
            "activation beside them, p99 by that alone",
            ratio,
            "×",
            Target::AtMost(SLOWER),
        );
    }
}

/// How long activations take alone, and beside these connections.
async fn beside_idle(
    program: &Arc<Program>,
    extent: Extent,
    report: &mut Report,
    hostile: &Handle,
    asks: bool,
) -> (f64, f64) {
    let quiet = p99_of_three(program, extent.activations).await;
    let (before, began) = (megabytes(program), Instant::now());
    let idle = on(hostile, open_idle(Arc::clone(program), extent.idle, asks)).await;
    let took = began.elapsed().as_secs_f64();
    let held = descriptors(program);
    let after = megabytes(program);
    let (stop, stopped) = watch::channel(false);
    let half_open = hostile.spawn(half_open(Arc::clone(program), extent.half_open, stopped));
    sleep(Duration::from_millis(500)).await;
    let with_half_open = megabytes(program);
    let disturbed = p99_of_three(program, extent.activations).await;
    stop.send(true).unwrap();
    half_open.await.unwrap();
    drop(idle);
    let what = if asks { "asked once" } else { "only shook hands" };
    println!(
        "({} peers that {what}, in {took:.1} s; {held} connections are kept)",
        extent.idle
    );
    report.number("memory with these", after, "MB", MOST_MEMORY);
    let name = format!("memory with {} half-open ones beside them", extent.half_open);
    report.number(&name, with_half_open, "MB", MOST_MEMORY);
    if !asks {
        let each = (after - before).max(0.0) * 1e6 / 1024.0 / held as f64;
        report.number("memory for each", each, "KiB", Target::AtMost(12.0));
    }
    // They have gone, which takes the Coordinator a moment to see.
    let gone = async {
        while descriptors(program) > 100 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let gone = timeout(Duration::from_secs(30), gone).await;
    report.fact("connections are let go with their peers", gone.is_ok(), true);
    (quiet, disturbed)
}

/// Peers that ask for much and read nothing: how long their connections last, seen by the program's descriptors.
async fn not_reading(program: &Arc<Program>, report: &mut Report, hostile: &Handle) {
    const PEERS: usize = 50;
    program.activate("plain", &uuid()).await.unwrap();
    let before = descriptors(program);
    let began = Instant::now();
    let address = program.client;
    let peers = on(hostile, async move {
        let mut peers = Vec::new();
        for _ in 0..PEERS {
            peers.push(slow::ask_without_reading(address).await);
        }
        peers
    })
    .await;
    let opened = descriptors(program).saturating_sub(before);
    report.number(
        "connections that do not read",
        opened as f64,
        "",
        Target::Between(40.0, 60.0),
    );
    report.number("memory meanwhile", megabytes(program), "MB", MOST_MEMORY);
    let closed = async {
        while descriptors(program) > before + 2 {
            sleep(Duration::from_millis(500)).await;
        }
    };
    let ended = timeout(Duration::from_secs(120), closed).await;
    let seconds = ended.map_or(f64::INFINITY, |()| began.elapsed().as_secs_f64());
    drop(peers);
    report.number("they are closed after", seconds, "s", Target::Between(55.0, 80.0));
}

/// Runs something among the hostile.
async fn on<T: Send + 'static>(hostile: &Handle, work: impl Future<Output = T> + Send + 'static) -> T {
    hostile.spawn(work).await.unwrap()
}

fn descriptors(program: &Program) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", program.pid()))
        .unwrap()
        .count()
}

/// The most memory that was ever resident.
fn most_megabytes(program: &Program) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes * 1024.0 / 1e6
}

/// For this process and the Coordinator that it starts.
fn raise_limit_of_descriptors(wanted: usize) {
    // Two listeners share what the Coordinator has.
    let wanted = wanted as u64;
    let now = getrlimit(Resource::Nofile);
    // `None` is without limit.
    if now.current.is_some_and(|current| current < wanted) {
        let limit = Rlimit {
            current: Some(wanted),
            maximum: now.maximum.map(|maximum| maximum.max(wanted)),
        };
        setrlimit(Resource::Nofile, limit)
            .unwrap_or_else(|error| panic!("{wanted} descriptors are needed: {error}"));
    }
}
