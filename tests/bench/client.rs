//! A plain HTTP client with kept connections.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use supercargo_registry::krate::packed::Packed;

/// A client.
#[derive(Debug, Clone)]
pub(crate) struct Client(legacy::Client<HttpConnector, Full<Bytes>>);

/// An answer, whole.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
}

/// Where crates are published.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The whole address of `PUT …/crates/new`.
    pub(crate) url: String,
    /// What stands in `Authorization`.
    pub(crate) token: String,
}

impl Client {
    /// Without a connection yet.
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self(legacy::Client::builder(TokioExecutor::new()).build(connector))
    }

    /// GET.
    pub(crate) async fn get(&self, url: &str, headers: &[(&'static str, String)]) -> Result<Answer> {
        let mut request = Request::get(url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = self.0.request(request.body(Full::default())?).await.with_context(|| format!("GET {url}"))?;
        let (parts, body) = response.into_parts();
        body.collect().await.with_context(|| format!("reading the answer of {url}"))?;
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers })
    }

    /// POST of JSON; the body of the answer.
    pub(crate) async fn post(&self, url: &str, body: &serde_json::Value) -> Result<Bytes> {
        let request = Request::post(url)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))?;
        let response = self.0.request(request).await.with_context(|| format!("POST {url}"))?;
        Ok(response.into_body().collect().await.with_context(|| format!("reading the answer of {url}"))?.to_bytes())
    }

    /// Publishes a crate and says how long the answer took.
    pub(crate) async fn publish(&self, to: &Target, packed: &Packed) -> Result<Duration> {
        let request = Request::builder()
            .method(Method::PUT)
            .uri(&to.url)
            .header(http::header::AUTHORIZATION, &to.token)
            .body(Full::new(Bytes::from(packed.body())))?;
        let begun = Instant::now();
        let response = self.0.request(request).await.context("publishing")?;
        let status = response.status();
        let body = response.into_body().collect().await.context("reading the answer to a publish")?.to_bytes();
        let time = begun.elapsed();
        ensure!(status.is_success(), "publish to {}: {status} {}", to.url, String::from_utf8_lossy(&body));
        Ok(time)
    }
}
