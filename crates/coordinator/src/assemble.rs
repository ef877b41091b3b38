//! Puts the Coordinator together and takes it apart again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use marblerun_collateral::Collaterals;
use marblerun_core::ambient::Dice;
use marblerun_core::manifest::{HsmEnvironment, Limits};
use marblerun_core::phase::Phase;
use marblerun_core::state::State;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client_threads::ClientThreads;
use crate::collateral::{self, CollateralStartError};
use crate::config::{Config, Simulation, Tee as Chosen};
use crate::dice::AwsDice;
use crate::evidence::OwnEvidence;
use crate::keeper::Keeper;
use crate::listen::{self, Api, BindError};
use crate::observe::metrics::metrics;
use crate::observe::server::Watched;
use crate::opening::{self, Opening, OpeningError};
use crate::prefetch::PrefetchingDice;
use crate::ready::{self, ReadyFileError};
use crate::recovery::Desk;
use crate::service::Service;
use crate::startup::{self, StartupManifestError};
use crate::tee::{Tee, TeeError};
use crate::tls::{self, Identity, TlsError};
use crate::{grpc, observe, process, rest, store};

/// Bytes that unanswered activation requests may take.
const ACTIVATION_BYTES: usize = 48 << 20;
/// HTTP/2 requests at a time on one connection of a marble, which has one to make.
const MARBLE_STREAMS: u32 = 8;

/// Why the Coordinator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is neither an old state nor a new one.
    #[error(transparent)]
    Opening(#[from] OpeningError),
    /// There is no TEE, or it gives no evidence.
    #[error(transparent)]
    Tee(#[from] TeeError),
    /// Collateral cannot be obtained as configured.
    #[error(transparent)]
    Collateral(#[from] CollateralStartError),
    /// A thread could not be started.
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] io::Error),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The startup manifest was not set.
    #[error(transparent)]
    StartupManifest(#[from] StartupManifestError),
    /// The ready file cannot be written.
    #[error(transparent)]
    ReadyFile(#[from] ReadyFileError),
}

/// A Coordinator whose APIs accept connections.
pub struct Running {
    /// Where the client API listens.
    pub client: SocketAddr,
    /// Where the Marble API listens.
    pub mesh: SocketAddr,
    stop: watch::Sender<bool>,
    servers: JoinSet<()>,
    writer: JoinHandle<()>,
    _client_threads: ClientThreads,
}

/// Starts a Coordinator: its state, its servers, the startup manifest, the ready file, in this order.
///
/// # Errors
/// [`StartError`]: whatever is missing for a Coordinator that can do its work.
pub async fn start(config: &Config) -> Result<Running, StartError> {
    match config.tee {
        Chosen::Hardware => {}
        Chosen::Simulated(Simulation::Lenient(_)) => tracing::warn!(
            "SIMULATION: no TEE protects this Coordinator, its secrets or its marbles; marbles are admitted without evidence"
        ),
        Chosen::Simulated(Simulation::Strict(_)) => tracing::warn!(
            "SIMULATION (strict): no TEE protects this Coordinator, its secrets or its marbles; evidence of the software \
             TEE is verified"
        ),
    }
    let tee = Tee::find(config)?;
    let judge = collateral::judge(config)?;
    let dice = Arc::new(PrefetchingDice::start(Arc::new(AwsDice))?);
    let Kept {
        keeper,
        writer,
        recovery,
    } = start_keeper(config, &tee, &dice)?;
    let limits = Limits {
        bytes: config.limit_manifest,
        entries: config.limit_entries,
    };
    let own_evidence = own_evidence(&tee, &keeper)?;
    let platform = hsm_environment(config, &tee);
    let service = Service::new(keeper, dice, limits, platform, judge, own_evidence).with_recovery(recovery);

    // The addresses are taken before a startup manifest is set: a start that fails should leave nothing behind.
    let client = listen::bind(&config.client_address).await?;
    let mesh = listen::bind(&config.mesh_address).await?;
    let monitoring = match &config.prometheus_address {
        Some(address) => Some(listen::bind(address).await?),
        None => None,
    };
    if let Some(path) = &config.startup_manifest {
        startup::set(&service, path, &config.seal_directory).await?;
    }
    let addresses = (client.local_addr()?, mesh.local_addr()?);

    let (stop, stopping) = watch::channel(false);
    let mut servers = JoinSet::new();
    keep_collateral_fresh(&mut servers, &service, &stopping);
    let client_threads = ClientThreads::start()?;
    let client = client_threads.take(client)?;
    servers.spawn_on(
        client_api(client, &service, config, &stopping)?,
        client_threads.handle(),
    );
    serve_marble_api(&mut servers, mesh, &service, config, &stopping)?;
    let monitoring_address = monitoring.as_ref().map(TcpListener::local_addr).transpose()?;
    if let Some(listener) = monitoring {
        let watched = Watched {
            service: service.clone(),
            state: config.seal_directory.join(store::files::DATA),
            simulated: config.tee.is_simulated(),
        };
        servers.spawn(observe::server::serve(listener, watched, stopping.clone()));
    }
    if let Some(path) = &config.ready_file {
        ready::write(path, addresses.0, addresses.1, monitoring_address)?;
    }
    tracing::info!(client = %addresses.0, mesh = %addresses.1, phase = ?service.snapshot().phase(), "ready");
    Ok(Running {
        client: addresses.0,
        mesh: addresses.1,
        stop,
        servers,
        writer,
        _client_threads: client_threads,
    })
}

impl Running {
    /// Takes nothing new, finishes what runs within the time the listeners give it, and lets go of the state.
    pub async fn stop(mut self) {
        // There may be no listener left to tell.
        let _ = self.stop.send(true);
        while self.servers.join_next().await.is_some() {}
        // The writer ends with its last caller. One that outlived the drain must not hold up the end.
        let writer = tokio::task::spawn_blocking(|| self.writer.join());
        if !matches!(timeout(Duration::from_secs(5), writer).await, Ok(Ok(Ok(())))) {
            tracing::warn!("stopped while a request was still running");
        }
    }
}

fn client_api(
    listener: TcpListener,
    service: &Service,
    config: &Config,
    stopping: &watch::Receiver<bool>,
) -> Result<impl Future<Output = ()> + use<>, StartError> {
    let state = service.clone();
    let identity = move || {
        let authority = Arc::clone(state.snapshot().authority());
        Identity {
            certificate: Arc::clone(&authority.root),
            key: authority.root_key.clone(),
        }
    };
    let tls = tls::client_api(Arc::new(identity), service.snapshot().authority().suite)?;
    let api = rest::api(service.clone(), config.logging.http_errors);
    Ok(listen::serve(listener, tls, api, limits(), stopping.clone()))
}

fn serve_marble_api(
    servers: &mut JoinSet<()>,
    listener: TcpListener,
    service: &Service,
    config: &Config,
    stopping: &watch::Receiver<bool>,
) -> Result<(), StartError> {
    let state = service.clone();
    let identity = move || {
        let authority = Arc::clone(state.snapshot().authority());
        Identity {
            certificate: Arc::clone(&authority.marble_root),
            key: authority.intermediate_key.clone(),
        }
    };
    let tls = tls::marble_api(Arc::new(identity), service.snapshot().authority().suite)?;
    let api: Api = grpc::marble::api(service.clone(), config.logging.http_errors);
    let limits = listen::Limits {
        streams: MARBLE_STREAMS,
        body_bytes: ACTIVATION_BYTES,
        ..limits()
    };
    servers.spawn(listen::serve(listener, tls, api, limits, stopping.clone()));
    Ok(())
}

/// What sealing with an Azure HSM lacks: always something, until there is a client for it. A manifest that asks for it
/// must not be set without it.
fn hsm_environment(config: &Config, tee: &Tee) -> HsmEnvironment {
    let mut environment = HsmEnvironment::from_lookup(|variable| config.azure.is_set(variable));
    if environment.missing.is_empty() {
        environment
            .missing
            .push("a client for Azure HSMs, which this version does not have".to_owned());
    }
    environment.without_seal_key = !tee.seals();
    environment
}

/// A Coordinator outside simulation that cannot get evidence about itself does not start (`spec/08`).
fn own_evidence(tee: &Tee, keeper: &Keeper) -> Result<OwnEvidence, TeeError> {
    let own = OwnEvidence::new(tee.issuer.clone());
    own.prepare(&keeper.snapshot().authority().root)?;
    Ok(own)
}

/// Keeps the metric true. Never ends.
async fn tell_age_of(collaterals: &Collaterals) {
    loop {
        tokio::time::sleep(Duration::from_secs(15)).await;
        let oldest = collaterals.stats().held.iter().map(|held| held.oldest).max();
        if let Some(issued) = oldest.and_then(|age| SystemTime::now().checked_sub(Duration::from_secs(age))) {
            metrics().collateral_is_from(issued);
        }
    }
}

/// Until the Coordinator stops.
fn keep_collateral_fresh(servers: &mut JoinSet<()>, service: &Service, stopping: &watch::Receiver<bool>) {
    let (service, mut stopping) = (service.clone(), stopping.clone());
    servers.spawn(async move {
        tokio::select! {
            () = service.judge().collaterals().keep_fresh() => {}
            () = tell_age_of(service.judge().collaterals()) => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    });
}

fn limits() -> listen::Limits {
    let usual = listen::Limits::default();
    listen::Limits {
        connections: process::connections_per_listener(usual.connections),
        ..usual
    }
}

/// The keeper with its thread, and where recovery secrets go.
struct Kept {
    keeper: Keeper,
    writer: JoinHandle<()>,
    recovery: Option<Arc<Desk>>,
}

/// Starts the keeper on what is kept of the deployment, or on a new one.
fn start_keeper(config: &Config, tee: &Tee, dice: &Arc<PrefetchingDice>) -> Result<Kept, StartError> {
    let shared: Arc<dyn Dice> = Arc::clone(dice) as Arc<dyn Dice>;
    let Opening { state, journal, lock } = opening::state(config, tee, &shared)?;
    let recovery = lock.map(Desk::open).transpose()?;
    let desk = recovery.clone();
    let (dice, served) = (Arc::clone(dice), AtomicU64::new(0));
    let on_publish = move |state: &State| {
        if let Some(desk) = desk.as_ref().filter(|_| state.phase() != Phase::Recovery) {
            desk.close();
        }
        // Most changes leave the manifest as it is, and there may be many marbles in it.
        let generation = state.manifest_generation();
        if let Some(manifest) = state.manifest()
            && served.swap(generation, Ordering::Relaxed) != generation
        {
            dice.serve(manifest);
            metrics().expect_types(manifest.marbles.keys().map(AsRef::as_ref));
        }
    };
    on_publish(&state);
    let (keeper, writer) = Keeper::start(state, journal, on_publish)?;
    Ok(Kept {
        keeper,
        writer,
        recovery,
    })
}
