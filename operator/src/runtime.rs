//! Starts the controllers and the HTTP server, and stops them in order.
//!
//! # Flow
//! Client, recorder, HTTP server (so that probes see the start), controllers. SIGTERM or SIGINT: no new pass begins, passes under
//! way end within the drain time, `/livez` and `/metrics` answer to the last, exit 0. A second signal, a controller or the
//! server that ends by itself: exit 1 at once, for the kubelet to start anew.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use kube::client::ClientBuilder;
use kube::client::retry::RetryPolicy;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;

use crate::config::Config;
use crate::context::Context;
use crate::{http, registry, telemetry, token};

/// Requests that may wait for the connection at once.
const REQUESTS_WAITING_MAX: usize = 1024;
/// How often histograms are folded, as their crate asks for.
const UPKEEP: Duration = Duration::from_secs(5);

/// Runs the operator until it is told to stop.
///
/// # Errors
/// It could not start, or a part of it ended by itself.
pub async fn run(config: Config, now: fn() -> jiff::Timestamp, fill_random: fn(&mut [u8])) -> anyhow::Result<()> {
    let metrics = telemetry::metrics()?;
    let mut signals = Signals::new()?;
    let listener =
        TcpListener::bind(config.listen).await.with_context(|| format!("cannot listen on {}", config.listen))?;
    let client = client().await?;
    let context = Arc::new(Context::new(client, config, now, fill_random));
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, listen = %context.config.listen, namespaces = ?context.config.watch_namespaces, "starting");

    let (stop_controllers, stopping) = watch::channel(false);
    let (stop_server, server_stopping) = watch::channel(false);
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    let server = tokio::spawn(http::serve(listener, Arc::clone(&context), metrics, told(server_stopping)));
    let mut controllers = JoinSet::new();
    for scope in context.config.scopes() {
        controllers.spawn(registry::run(Arc::clone(&context), scope.clone(), told(stopping.clone())));
        controllers.spawn(token::run(Arc::clone(&context), scope, told(stopping.clone())));
    }

    tokio::select! {
        signal = signals.next() => tracing::info!(signal, "stopping"),
        ended = controllers.join_next() => bail!("a controller ended by itself: {ended:?}"),
    }
    stop_controllers.send_replace(true);
    let drain = context.config.drain();
    let drained = async { while controllers.join_next().await.is_some() {} };
    tokio::select! {
        outcome = tokio::time::timeout(drain, drained) => {
            if outcome.is_err() {
                tracing::warn!(drain_secs = drain.as_secs(), "passes were still under way; they will be repeated");
            }
        }
        signal = signals.next() => bail!("{signal} again: stopping at once"),
    }
    stop_server.send_replace(true);
    let _ = tokio::time::timeout(Duration::from_secs(2), server).await; // an idle connection must not hold up the end
    tracing::info!("stopped");
    Ok(())
}

/// A client that waits out a short overload of the API server, and no longer: what takes longer is for the backoff of a pass
/// or a watch, which kube's own policy (15 tries, up to minutes apart) would keep waiting.
async fn client() -> anyhow::Result<kube::Client> {
    let mut config =
        kube::Config::infer().await.context("cannot find the API server: no kubeconfig, and not in a pod")?;
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    let policy =
        RetryPolicy::new(Duration::from_millis(500), Duration::from_secs(5), 3, true).context("retry policy")?;
    let builder = ClientBuilder::try_from(config).context("cannot make a client of the API server")?;
    let builder = builder.with_layer(&BufferLayer::new(REQUESTS_WAITING_MAX)).with_layer(&RetryLayer::new(policy));
    Ok(builder.build())
}

/// Resolves when the switch is thrown.
async fn told(mut switch: watch::Receiver<bool>) {
    // An error says that the sender is gone, which is the end too.
    let _ = switch.wait_for(|stop| *stop).await;
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Signals> {
        let open = |kind| signal(kind).context("cannot listen for signals");
        Ok(Signals { terminate: open(SignalKind::terminate())?, interrupt: open(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
