//! One listening socket: the accept loop, TLS, HTTP/1.1 and HTTP/2, time limits, the connection cap.
//!
//! The loop is our own because warp's takes no TLS, sets no timer (so no header time-out), has no connection cap and no
//! deadline for its drain.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::layers::{Answering, Body, Service};
use super::stall::Unstalled;
use super::streams::{Noted, Outbox, Streams};
use super::tls::Certificates;
use crate::metrics::OpenConnection;

/// The pause after a failed accept: it fails when file descriptors have run out, which takes a while to mend.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// The largest head of a request, in bytes.
const HEAD_BYTES_MAX: u32 = 64 * 1024;
/// HTTP/2 requests at once on one connection.
const STREAMS_MAX: u32 = 200;
/// What each of them may have in memory on its way into the socket, in bytes.
const STREAM_BYTES_MAX: usize = 128 * 1024;
/// How often a silent HTTP/2 connection is asked whether it still lives, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_ANSWER: Duration = Duration::from_secs(15);

/// One bound socket and what it serves.
pub(super) struct Listener {
    pub(super) name: &'static str,
    pub(super) socket: TcpListener,
    pub(super) certificates: Option<Arc<Certificates>>,
    pub(super) service: Service,
    pub(super) connections_max: usize,
    pub(super) header_read: Duration,
    pub(super) write_stall: Duration,
}

/// When to stop: first no new connections, then no more patience with the open ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Stops {
    /// No new connections; open ones finish what they are at.
    pub(super) accept: CancellationToken,
    /// Open connections end now.
    pub(super) abort: CancellationToken,
}

impl Listener {
    /// Where it listens.
    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until `stops.accept`, then returns when every connection has ended, at the latest soon after `stops.abort`.
    /// `accepted` counts new connections.
    pub(super) async fn run(self, stops: Stops, accepted: watch::Sender<u64>) {
        let connections = TaskTracker::new();
        let graceful = GracefulShutdown::new();
        let permits = Arc::new(Semaphore::new(self.connections_max));
        let builder = Arc::new(builder(self.header_read, self.write_stall));
        loop {
            let next = async {
                let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
                (permit, self.socket.accept().await)
            };
            let Some((permit, accept)) = stops.accept.run_until_cancelled(next).await else { break };
            let (stream, peer) = match accept {
                Ok(accept) => accept,
                Err(error) => {
                    tracing::warn!(%error, listener = self.name, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            accepted.send_modify(|count| *count += 1);
            let connection = Connection {
                peer,
                certificates: self.certificates.clone(),
                service: self.service.clone(),
                builder: builder.clone(),
                header_read: self.header_read,
                write_stall: self.write_stall,
                watcher: graceful.watcher(),
            };
            let (open, abort) = (OpenConnection::new(self.name), stops.abort.clone());
            connections.spawn(async move {
                let ended = abort.run_until_cancelled(connection.serve(stream)).await;
                if ended.is_none() {
                    tracing::warn!(%peer, "connection cut: the time to drain is over");
                }
                drop((permit, open));
            });
        }
        drop(self.socket);
        graceful.shutdown().await;
        connections.close();
        connections.wait().await;
    }
}

/// How connections are served, with the time for the head of a request and for a client that takes nothing.
pub(super) fn builder(header_read: Duration, write_stall: Duration) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(Streams::new(write_stall));
    // Without a timer hyper silently has no header time-out.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(header_read).max_buf_size(HEAD_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER)
        .max_concurrent_streams(STREAMS_MAX)
        .max_send_buf_size(STREAM_BYTES_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .adaptive_window(true);
    builder
}

/// Notes that a request has arrived.
struct Marking {
    service: Service,
    begun: Arc<AtomicBool>,
    outbox: Arc<Outbox>,
}

impl hyper::service::Service<http::Request<Incoming>> for Marking {
    type Response = http::Response<Noted<Body>>;
    type Error = Infallible;
    type Future = Noting;

    fn call(&self, request: http::Request<Incoming>) -> Noting {
        self.begun.store(true, Ordering::Relaxed);
        let outbox = (request.version() == http::Version::HTTP_2).then(|| self.outbox.clone());
        Noting { answering: self.service.call(request), outbox }
    }
}

/// An answer on its way, of which is noted when it is taken.
struct Noting {
    answering: Answering,
    outbox: Option<Arc<Outbox>>,
}

impl Future for Noting {
    type Output = Result<http::Response<Noted<Body>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.answering).poll(cx);
        answer.map_ok(|response| response.map(|body| Noted::new(body, self.outbox.take())))
    }
}

struct Connection {
    peer: SocketAddr,
    certificates: Option<Arc<Certificates>>,
    service: Service,
    builder: Arc<auto::Builder<Streams>>,
    header_read: Duration,
    write_stall: Duration,
    watcher: Watcher,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        // Answers are small and complete; waiting for more to fill a packet only costs time.
        let _ = stream.set_nodelay(true);
        let stream = Unstalled::new(stream, self.write_stall);
        let Some(certificates) = &self.certificates else { return self.serve_http(stream).await };
        let acceptor = tokio_rustls::TlsAcceptor::from(certificates.current());
        match tokio::time::timeout(self.header_read, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => self.serve_http(stream).await,
            Ok(Err(error)) => tracing::debug!(peer = %self.peer, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(peer = %self.peer, "TLS handshake timed out"),
        }
    }

    async fn serve_http<I: AsyncRead + AsyncWrite + Send + Unpin + 'static>(self, io: I) {
        let Self { peer, service, builder, header_read, write_stall, watcher, .. } = self;
        let (begun, outbox) = (Arc::new(AtomicBool::new(false)), Arc::new(Outbox::default()));
        let service = Marking { service, begun: begun.clone(), outbox: outbox.clone() };
        let connection = watcher.watch(builder.serve_connection(TokioIo::new(io), service).into_owned());
        // hyper's time-out begins once it knows whether the client speaks HTTP/1 or 2. A client that never says so would
        // hold a connection for ever.
        let silent = async {
            tokio::time::sleep(header_read).await;
            if begun.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            result = connection => {
                if let Err(error) = result {
                    tracing::debug!(%peer, error = %error, "connection ended early");
                }
            }
            () = outbox.stands_still(write_stall) => tracing::debug!(%peer, "the client takes nothing of its answers: connection cut"),
            () = silent => tracing::debug!(%peer, "no request arrived in time"),
        }
    }
}
