//! `/livez`, `/readyz` and `/metrics`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use warp::Filter;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};

use crate::context::Context;

/// How long a client may take to send the head of a request.
const HEADER_READ: Duration = Duration::from_secs(5);
/// Open connections; further ones wait. The kubelet and Prometheus need a handful.
const CONNECTIONS_MAX: usize = 64;

/// The routes. `/livez` answers while the program runs its event loop; `/readyz` when every controller has listed its objects.
pub fn routes(
    context: Arc<Context>,
    metrics: PrometheusHandle,
) -> impl Filter<Extract = (impl Reply,), Error = warp::Rejection> + Clone {
    let livez = warp::path!("livez").map(|| text(StatusCode::OK, "ok\n".into()));
    let readyz = warp::path!("readyz").map(move || match context.health.ready() {
        Ok(()) => text(StatusCode::OK, "ok\n".into()),
        Err(reasons) => text(StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n"),
    });
    let metrics = warp::path!("metrics").map(move || text(StatusCode::OK, metrics.render()));
    warp::get().and(livez.or(readyz).unify().or(metrics).unify())
}

fn text(status: StatusCode, body: String) -> Response {
    let reply = warp::reply::with_header(body, "content-type", "text/plain; version=0.0.4; charset=utf-8");
    warp::reply::with_status(reply, status).into_response()
}

/// Serves until `stop` resolves, then finishes the requests under way.
pub async fn serve(
    listener: TcpListener,
    context: Arc<Context>,
    metrics: PrometheusHandle,
    stop: impl Future<Output = ()> + Send,
) {
    let service = warp::service(routes(context, metrics));
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    let mut stop = std::pin::pin!(stop);
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await.expect("the semaphore is never closed");
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, mostly: do not spin.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_READ)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended early");
            }
            drop(permit);
        });
    }
    graceful.shutdown().await;
}
