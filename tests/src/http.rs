//! Plain HTTP to a registry, where a test has to see what Cargo does not show.

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

/// GET `url`, with the token as Cargo sends it, if there is one.
pub async fn get(url: &str, token: Option<&str>) -> Result<(StatusCode, Bytes)> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let mut request = Request::get(url);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, token);
    }
    let response = client.request(request.body(Empty::new())?).await.with_context(|| format!("GET {url}"))?;
    let status = response.status();
    let body = response.into_body().collect().await.with_context(|| format!("reading the answer to GET {url}"))?;
    Ok((status, body.to_bytes()))
}

/// The lines of a crate's index file, as JSON.
pub async fn index_lines(base: &str, token: &str, name: &str) -> Result<Vec<serde_json::Value>> {
    let url = format!("{base}/index/{}", index_path(name));
    let (status, body) = get(&url, Some(token)).await?;
    anyhow::ensure!(status == StatusCode::OK, "GET {url}: {status} {}", String::from_utf8_lossy(&body));
    std::str::from_utf8(&body)?.lines().map(|line| serde_json::from_str(line).map_err(Into::into)).collect()
}

/// Cargo's folders of a sparse index: `1/a`, `2/ab`, `3/a/abc`, `ab/cd/abcd`.
fn index_path(name: &str) -> String {
    let name = name.to_lowercase();
    match name.len() {
        1 => format!("1/{name}"),
        2 => format!("2/{name}"),
        3 => format!("3/{}/{name}", &name[..1]),
        _ => format!("{}/{}/{name}", &name[..2], &name[2..4]),
    }
}
