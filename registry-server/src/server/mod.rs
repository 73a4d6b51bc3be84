//! A running server: two listeners over one registry, from [`start`] to the end of the drain.
//!
//! The order of the end: readiness answers 503 at once; new connections are still taken while they keep coming (a
//! Kubernetes Service goes on sending some for a moment); then no new ones, and those under way finish, publishes above all;
//! after `limits.drain_secs` they are cut. The internal listener goes last, so that the end can be watched.

mod layers;
mod listener;
mod peers;
mod signals;
mod stall;
mod streams;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::listener::{Listener, Stops};
pub use self::signals::Signals;
pub use self::tls::TlsError;
use crate::ambient::{Clock, Entropy, Monotonic};
use crate::config::{self, Config};
use crate::http::credential::FileCredential;
use crate::http::{InternalState, PublicState};
use crate::maintenance::sweep::{Pace, keep_swept};
use crate::registry::{KeptFiles, KeptOnDisk, Registry, RegistryError, Replication, Storage};
use crate::replicas::{NoPeers, Peers, Settings};
use crate::{http, metrics};

/// While stopping in [`Stop::Settle`], the silence after which nobody new is expected.
const SETTLE_SILENCE: Duration = Duration::from_secs(1);
/// The share of the drain time that waiting for that silence may take.
const SETTLE_SHARE: u32 = 5;
/// How long the last answers on the internal listener may take.
const INTERNAL_DRAIN: Duration = Duration::from_secs(1);
/// How long storing the last counts of downloads may take.
const COUNTS_DRAIN: Duration = Duration::from_secs(2);
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// How to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Take new connections until nobody new has come for a second: for a server behind a load balancer that has to notice first.
    Settle,
    /// Take none from now on.
    Now,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} ({key}): {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The configuration key.
        key: &'static str,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The admin credential cannot be read.
    #[error("cannot read admin.token_file {path}: {reason}")]
    AdminToken {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The replicas' credential cannot be read.
    #[error("cannot read replicas.credential_file {path}: {reason}")]
    PeerCredential {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The other replicas cannot be reached so.
    #[error("the other replicas cannot be reached over TLS: {reason}")]
    PeerTls {
        /// What is wrong.
        reason: String,
    },
    /// The registry refuses the store.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// A server that has bound its sockets. Dropping it leaves it running.
#[derive(Debug)]
pub struct Running {
    /// Where Cargo connects, with the real port.
    pub public: SocketAddr,
    /// Where probes, metrics and the admin API are, with the real port.
    pub internal: SocketAddr,
    /// The registry that is served.
    pub registry: Arc<Registry>,
    stop: watch::Sender<Option<Stop>>,
    task: JoinHandle<bool>,
}

impl Running {
    /// Begins to stop; returns at once. A second call may turn [`Stop::Settle`] into [`Stop::Now`].
    pub fn shutdown(&self, how: Stop) {
        self.stop.send_replace(Some(how));
    }

    /// Waits until the server has ended; `true` if everything under way was finished in time.
    pub async fn wait(self) -> bool {
        self.task.await.unwrap_or(false)
    }
}

/// Checks the files that the configuration names, as [`start`] would.
///
/// # Errors
/// A certificate or the admin credential cannot be used.
pub fn check(config: &Config) -> Result<(), StartError> {
    load_admin(config)?;
    replication(config, None)?;
    for listener in [&config.public, &config.internal] {
        listener.tls.as_ref().map(tls::Certificates::load).transpose()?;
    }
    Ok(())
}

/// Binds both listeners and serves the registry in `store`; returns as soon as the sockets are bound. Stores that need a proof are
/// proven in the background: until then `/readyz` and everything that touches the store answer 503.
///
/// # Errors
/// An address, a certificate or the admin credential cannot be used; a store that needs no proof holds another format.
pub async fn start(config: &Config, storage: &Storage, clock: Clock, entropy: Entropy) -> Result<Running, StartError> {
    metrics::install();
    let admin = load_admin(config)?;
    let background = Background::new();
    let public_socket = bind(config.public.listen, "public.listen").await?;
    let internal_socket = bind(config.internal.listen, "internal.listen").await?;
    let public_certificates = load_certificates(&config.public, &background)?;
    let internal_certificates = load_certificates(&config.internal, &background)?;

    let internal_port = internal_socket.local_addr().ok().map(|address| address.port());
    let replication = replication(config, internal_port)?;
    let registry = Registry::replicated(storage, config.visibility, replication, clock, entropy.clone());
    let registry = Arc::new(registry.keeping(kept_files(config)));
    registry.open().await?;
    background.tasks.spawn(registry.clone().keep_proven(background.proof.clone()));
    background.tasks.spawn(registry.clone().keep_disk(background.stop.clone()));
    background.tasks.spawn(registry.clone().keep_up(background.stop.clone()));
    background.tasks.spawn(registry.clone().keep_searchable(background.stop.clone()));
    background.tasks.spawn(registry.clone().keep_counting(background.stop.clone()));
    let pace = Pace::for_lease(config.replicas.lease);
    background.tasks.spawn(keep_swept(registry.clone(), pace, entropy.clone(), background.stop.clone()));
    background.spawn_upkeep(registry.clone());

    let draining = Arc::new(AtomicBool::new(false));
    let public_state = PublicState::new(registry.clone(), config);
    let public_routes = http::public_routes(&public_state);
    let internal_routes = http::internal_routes(&InternalState {
        registry: registry.clone(),
        admin: admin.map(Arc::new),
        peers: load_peers(config)?.map(Arc::new),
        draining: draining.clone(),
    });
    let listener = |name, socket, certificates, routes, at_once| Listener {
        name,
        socket,
        certificates,
        service: layers::wrap(routes, at_once, name, config.limits.body_read, entropy.clone()),
        connections_max: config.limits.connections_max,
        header_read: config.limits.header_read,
        write_stall: config.limits.write_stall,
    };
    let public = listener("public", public_socket, public_certificates, public_routes, Some(public_state));
    let internal = listener("internal", internal_socket, internal_certificates, internal_routes, None);
    let address = |listener: &Listener, key, config: &config::Listener| {
        listener.address().map_err(|source| StartError::Listen { address: config.listen, key, source })
    };
    let (public_address, internal_address) =
        (address(&public, "public.listen", &config.public)?, address(&internal, "internal.listen", &config.internal)?);

    let (stop, stopped) = watch::channel(None);
    let supervisor = Supervisor { registry: registry.clone(), draining, background, drain: config.limits.drain };
    let task = tokio::spawn(supervisor.run(public, internal, stopped));
    Ok(Running { public: public_address, internal: internal_address, registry, stop, task })
}

fn kept_files(config: &Config) -> KeptFiles {
    let disk = config.cache.disk.as_ref();
    KeptFiles {
        bytes_max: config.cache.download_bytes,
        file_bytes_max: config.downloads.cached_file_bytes_max,
        disk: disk.map(|disk| KeptOnDisk { directory: disk.directory.clone(), bytes_max: disk.bytes }),
    }
}

fn load_admin(config: &Config) -> Result<Option<FileCredential>, StartError> {
    let admin = config.admin_token_file.as_deref().map(FileCredential::load).transpose();
    admin.map_err(|(path, reason)| StartError::AdminToken { path, reason })
}

fn load_peers(config: &Config) -> Result<Option<FileCredential>, StartError> {
    let peers = config.replicas.credential_file.as_deref().map(FileCredential::load).transpose();
    peers.map_err(|(path, reason)| StartError::PeerCredential { path, reason })
}

/// What the configuration says of this process's part among others. `internal_port` stands for port 0 in `replicas.address`.
///
/// # Errors
/// The credential or the authorities for the others cannot be used.
pub fn replication(config: &Config, internal_port: Option<u16>) -> Result<Replication, StartError> {
    let peers: Arc<dyn Peers> = match peers::HttpPeers::load(&config.replicas)? {
        Some(peers) => Arc::new(peers),
        None => Arc::new(NoPeers),
    };
    let address = config.replicas.address.clone().unwrap_or_default();
    let address = match (address.strip_suffix(":0"), internal_port) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        _ => address,
    };
    let settings = Settings {
        lease: config.replicas.lease,
        mode: config.replicas.mode,
        address,
        entries_bytes_max: config.cache.index_bytes,
        ..Settings::default()
    };
    Ok(Replication { settings, peers, time: Monotonic::system() })
}

async fn bind(address: SocketAddr, key: &'static str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, key, source })
}

fn load_certificates(
    listener: &config::Listener,
    background: &Background,
) -> Result<Option<Arc<tls::Certificates>>, StartError> {
    let Some(files) = &listener.tls else { return Ok(None) };
    let certificates = Arc::new(tls::Certificates::load(files)?);
    background.tasks.spawn(certificates.clone().keep_fresh(background.stop.clone()));
    Ok(Some(certificates))
}

/// Tasks that live as long as the server and hold nothing that has to be finished.
struct Background {
    stop: CancellationToken,
    /// Ends the proof of the store, which has to clean up: as early as possible, and awaited with the other tasks.
    proof: CancellationToken,
    tasks: TaskTracker,
}

impl Background {
    fn new() -> Self {
        let stop = CancellationToken::new();
        Self { proof: stop.child_token(), stop, tasks: TaskTracker::new() }
    }

    fn spawn_upkeep(&self, registry: Arc<Registry>) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            while stop.run_until_cancelled(tokio::time::sleep(UPKEEP_EVERY)).await.is_some() {
                registry.report_kept();
                metrics::upkeep();
            }
        });
    }

    async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Runs the listeners and, at the end, the drain.
struct Supervisor {
    registry: Arc<Registry>,
    draining: Arc<AtomicBool>,
    background: Background,
    drain: Duration,
}

impl Supervisor {
    async fn run(self, public: Listener, internal: Listener, mut stopped: watch::Receiver<Option<Stop>>) -> bool {
        let (public_stops, internal_stops) = (Stops::default(), Stops::default());
        let (accepted, mut arrivals) = watch::channel(0);
        let mut public_task = tokio::spawn(public.run(public_stops.clone(), accepted));
        let mut internal_task = tokio::spawn(internal.run(internal_stops.clone(), watch::channel(0).0));

        // If `Running` is dropped nobody can stop the server any more, and it serves until the process ends.
        if stopped.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
        self.draining.store(true, Ordering::Relaxed);
        self.background.proof.cancel();
        let deadline = tokio::time::Instant::now() + self.drain;
        tracing::info!(
            drain_secs = self.drain.as_secs(),
            "stopping: not ready from now on, finishing what is under way"
        );
        let settled = tokio::time::timeout(self.drain / SETTLE_SHARE, settle(&mut arrivals));
        tokio::select! {
            _ = settled => {}
            _ = stopped.wait_for(|how| *how == Some(Stop::Now)) => {}
        }
        public_stops.accept.cancel();

        let finish = async {
            let _ = (&mut public_task).await;
            self.registry.finish_writes().await;
            self.registry.leave().await;
        };
        let complete = tokio::time::timeout_at(deadline, finish).await.is_ok();
        if !complete {
            tracing::warn!("the time to drain is over; cutting what is still under way");
            public_stops.abort.cancel();
            let _ = public_task.await;
        }
        if tokio::time::timeout(COUNTS_DRAIN, self.registry.finish_counting()).await.is_err() {
            tracing::warn!("the last downloads could not be stored in time; they are not counted");
        }
        internal_stops.accept.cancel();
        if tokio::time::timeout(INTERNAL_DRAIN, &mut internal_task).await.is_err() {
            internal_stops.abort.cancel();
            let _ = internal_task.await;
        }
        self.background.end().await;
        tracing::info!(complete, "stopped");
        complete
    }
}

/// Returns when no connection has arrived for [`SETTLE_SILENCE`].
async fn settle(arrivals: &mut watch::Receiver<u64>) {
    arrivals.mark_unchanged();
    while let Ok(Ok(())) = tokio::time::timeout(SETTLE_SILENCE, arrivals.changed()).await {}
}
