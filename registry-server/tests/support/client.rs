//! A small HTTP client: one connection per request, every byte under the test's control.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) version: http::Version,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) async fn of(response: Response<hyper::body::Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("the body arrives").to_bytes();
        Self { status: parts.status, version: parts.version, headers: parts.headers, body }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// Sends one request over HTTP/1.1.
pub(crate) async fn send(address: SocketAddr, request: http::request::Builder, body: impl Into<Bytes>) -> Answer {
    let stream = TcpStream::connect(address).await.expect("the server listens");
    send_over(stream, address, request, body).await
}

/// Sends one request over an open stream, HTTP/1.1.
pub(crate) async fn send_over<S>(
    stream: S,
    address: SocketAddr,
    request: http::request::Builder,
    body: impl Into<Bytes>,
) -> Answer
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(connection);
    let request = request.header("host", address.to_string()).body(Full::new(body.into())).expect("a request");
    Answer::of(sender.send_request(request).await.expect("an answer")).await
}

/// Sends one request over an open stream, HTTP/2.
pub(crate) async fn send_over_http2<S>(stream: S, request: Request<Full<Bytes>>) -> Answer
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(connection);
    Answer::of(sender.send_request(request).await.expect("an answer")).await
}

/// A connection on which the test writes what it likes.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.expect("the server listens"))
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("the server reads");
    }

    /// All that the server says until it closes the connection.
    pub(crate) async fn read_to_end(mut self) -> String {
        let mut said = Vec::new();
        // A reset is an end too.
        let _ = self.0.read_to_end(&mut said).await;
        String::from_utf8_lossy(&said).into_owned()
    }

    /// What the server says until `part` was among it.
    pub(crate) async fn read_until(&mut self, part: &str) -> String {
        let mut said = String::new();
        let mut chunk = [0; 4096];
        while !said.contains(part) {
            let read = self.0.read(&mut chunk).await.expect("the server answers");
            assert_ne!(read, 0, "the server closed the connection after {said:?}");
            said.push_str(&String::from_utf8_lossy(&chunk[..read]));
        }
        said
    }
}
