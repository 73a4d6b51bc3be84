//! Connections: accepting, logging, and what goes wrong between client and server.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::backend::{Backend, Keys};
use super::{Fault, Logged, Shared, locked};

/// Which connection a request came over.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionId(pub(super) u64);

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Accepts connections until it is aborted, and then closes them.
pub(super) async fn serve(listener: TcpListener, tls: Option<Arc<ServerConfig>>, shared: Arc<Shared>) {
    let mut builder = S3ServiceBuilder::new(Backend(Arc::clone(&shared)));
    builder.set_auth(Keys(Arc::clone(&shared)));
    let service = builder.build();
    let acceptor = tls.map(TlsAcceptor::from);
    let mut connections = JoinSet::new();
    let mut number = 0;
    while let Ok((stream, _)) = listener.accept().await {
        number += 1;
        // Small answers must not wait for each other.
        let _ = stream.set_nodelay(true);
        let (id, service, shared) = (ConnectionId(number), service.clone(), Arc::clone(&shared));
        match acceptor.clone() {
            None => connections.spawn(connection(stream, id, service, shared)),
            Some(acceptor) => connections.spawn(async move {
                // A client that does not trust the certificate hangs up here.
                if let Ok(stream) = acceptor.accept(stream).await {
                    connection(stream, id, service, shared).await;
                }
            }),
        };
        while connections.try_join_next().is_some() {}
    }
}

async fn connection<T>(stream: T, id: ConnectionId, service: S3Service, shared: Arc<Shared>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = service_fn(move |request| answer(request, id, service.clone(), Arc::clone(&shared)));
    let builder = auto::Builder::new(TokioExecutor::new());
    // An error is a connection that a fault, or the client, has broken.
    let _ = builder.serve_connection(TokioIo::new(stream), answer).await;
}

/// Answers one request. An error closes the connection without an answer.
async fn answer(
    mut request: Request<Incoming>,
    id: ConnectionId,
    service: S3Service,
    shared: Arc<Shared>,
) -> Result<Response<Body>, io::Error> {
    request.extensions_mut().insert(id);
    let slot = log(&request, id, &shared);
    let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let fault = shared.fault(request.method().as_str(), &target);
    let result = match fault {
        None => call(&service, request.map(s3s::Body::from)).await,
        Some(Fault::Status(status, code)) => refuse(request, status, &error_xml(code)).await,
        Some(Fault::Html(status)) => refuse(request, status, "<html><body>gateway</body></html>").await,
        Some(Fault::Reset) => Err(broken("reset")),
        Some(Fault::LoseReply) => {
            call(&service, request.map(s3s::Body::from)).await?;
            Err(broken("reply lost"))
        }
        Some(Fault::Stall) => std::future::pending().await,
        Some(Fault::Late) => late(service, request, Arc::clone(&shared)).await,
        Some(Fault::CutBody) => cut(call(&service, request.map(s3s::Body::from)).await?).await,
    };
    if let Ok(response) = &result
        && let Some(logged) = locked(&shared.log).get_mut(slot)
    {
        logged.status = Some(response.status().as_u16());
    }
    result
}

/// Writes a request down, and returns its place in the log. (A cleared log forgets who was where; their statuses are lost, no more.)
fn log(request: &Request<Incoming>, id: ConnectionId, shared: &Shared) -> usize {
    let headers = request.headers().iter().filter(|(name, _)| *name != http::header::AUTHORIZATION);
    let headers =
        headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let logged = Logged {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        headers: headers.collect(),
        connection: id.0,
        status: None,
    };
    let mut log = locked(&shared.log);
    log.push(logged);
    log.len() - 1
}

async fn call(service: &S3Service, request: Request<s3s::Body>) -> Result<Response<Body>, io::Error> {
    let response = service.call(request).await.map_err(|err| broken(&format!("{err:?}")))?;
    Ok(response.map(|body| body.map_err(io::Error::other).boxed_unsync()))
}

/// Reads the body, as a server does that answers in the end, and refuses.
async fn refuse(request: Request<Incoming>, status: u16, text: &str) -> Result<Response<Body>, io::Error> {
    request.into_body().collect().await.map_err(io::Error::other)?;
    let body = Full::new(Bytes::from(text.to_owned())).map_err(|never: Infallible| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).map_err(io::Error::other)?;
    response.headers_mut().insert("x-amz-request-id", http::HeaderValue::from_static("INJECTED"));
    Ok(response)
}

/// Takes the request whole and carries it out when released, whether or not anybody waits.
async fn late(
    service: S3Service,
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Body>, io::Error> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map_err(io::Error::other)?.to_bytes();
    tokio::spawn(async move {
        shared.release.notified().await;
        // Its answer goes nowhere.
        let _ = service.call(Request::from_parts(parts, s3s::Body::from(bytes))).await;
    });
    std::future::pending().await
}

/// The same answer, whose body breaks off in the middle.
async fn cut(response: Response<Body>) -> Result<Response<Body>, io::Error> {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await?.to_bytes();
    let half = stream::iter([Ok(Frame::data(bytes.slice(..bytes.len() / 2)))]);
    // The first half has to be on its way when the connection goes: without any of it the client would simply ask again.
    let end = stream::once(async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(broken("cut"))
    });
    let cut = half.chain(end);
    let mut response = Response::from_parts(parts, StreamBody::new(cut).boxed_unsync());
    response.headers_mut().insert(http::header::CONTENT_LENGTH, bytes.len().into());
    Ok(response)
}

fn error_xml(code: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>injected</Message><RequestId>INJECTED</RequestId></Error>"
    )
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, what.to_owned())
}
