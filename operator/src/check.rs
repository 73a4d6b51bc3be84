//! `supercargo-operator check`: is an installation complete? For `helm test`, and for whoever wonders why nothing happens.
//!
//! Asks the API server whether the kinds are served and whether this account has each of [`RIGHTS`], and the running operator whether it is
//! ready. Writes nothing.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::crd::{GROUP, VERSION};
use crate::rights::{RIGHTS, Right};

/// Flags of `supercargo-operator check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Base URL of the running operator, such as http://supercargo-operator:8080; left out, it is not asked
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,

    /// Namespaces that it is to look after, separated by commas; all of them when empty
    #[arg(long, env = "SUPERCARGO_OPERATOR_WATCH_NAMESPACES", value_name = "NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
}

const OPERATOR: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// One line per finding, and whether it is as it should be.
pub type Findings = Vec<(bool, String)>;

/// Looks at everything, in the order in which it is set up.
///
/// # Errors
/// The API server cannot be asked at all.
pub async fn check(client: &Client, options: &Check) -> Result<Findings> {
    let mut findings = kinds(client).await?;
    findings.extend(rights(client, &options.watch_namespaces).await?);
    if let Some(url) = &options.url {
        findings.push(match operator(url).await {
            Ok(()) => (true, format!("the operator at {url} is ready")),
            Err(error) => (false, format!("the operator at {url} is not ready: {error:#}")),
        });
    }
    Ok(findings)
}

async fn kinds(client: &Client) -> Result<Findings> {
    let served = match client.list_api_group_resources(&format!("{GROUP}/{VERSION}")).await {
        Ok(list) => list.resources.into_iter().map(|resource| resource.name).collect(),
        Err(kube::Error::Api(status)) if status.is_not_found() => Vec::new(),
        Err(error) => return Err(error).context("asking the API server which kinds it serves"),
    };
    let one = |name: &str| match served.iter().any(|s| s == name) {
        true => (true, format!("{name}.{GROUP} {VERSION} is served")),
        false => (false, format!("{name}.{GROUP} {VERSION} is not served: install the chart supercargo-crds")),
    };
    Ok(["cargoregistries", "cargotokens"].map(one).into())
}

async fn rights(client: &Client, namespaces: &[String]) -> Result<Findings> {
    let namespaces: Vec<Option<&str>> =
        match namespaces.iter().map(|n| n.trim()).filter(|n| !n.is_empty()).collect::<Vec<_>>() {
            named if named.is_empty() => vec![None],
            named => named.into_iter().map(Some).collect(),
        };
    let mut findings = Vec::new();
    for namespace in namespaces {
        let mut lacking = Vec::new();
        for right in RIGHTS {
            lacking.extend(lacks(client, right, namespace).await?);
        }
        let place = namespace.map_or_else(|| "in every namespace".to_owned(), |n| format!("in namespace {n}"));
        findings.push(match lacking.is_empty() {
            true => (true, format!("this account has every right it needs {place}")),
            false => (false, format!("this account lacks rights {place}: {}", lacking.join(", "))),
        });
    }
    Ok(findings)
}

/// `verb resource.group` of what this account may not do.
async fn lacks(client: &Client, right: &Right, namespace: Option<&str>) -> Result<Vec<String>> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let mut lacking = Vec::new();
    for resource in right.resources {
        for verb in right.verbs {
            let (name, subresource) =
                resource.split_once('/').map_or((*resource, None), |(name, sub)| (name, Some(sub)));
            let attributes = ResourceAttributes {
                group: Some(right.group.to_owned()),
                resource: Some(name.to_owned()),
                subresource: subresource.map(str::to_owned),
                verb: Some((*verb).to_owned()),
                namespace: namespace.map(str::to_owned),
                ..ResourceAttributes::default()
            };
            let spec =
                SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), non_resource_attributes: None };
            let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
            let answer =
                reviews.create(&PostParams::default(), &review).await.context("asking the API server for rights")?;
            if !answer.status.is_some_and(|status| status.allowed) {
                let group = if right.group.is_empty() { String::new() } else { format!(".{}", right.group) };
                lacking.push(format!("{verb} {resource}{group}"));
            }
        }
    }
    Ok(lacking)
}

async fn operator(url: &str) -> Result<()> {
    let http = HttpClient::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let uri: http::Uri = format!("{}/readyz", url.trim_end_matches('/')).parse().context("the URL")?;
    let exchange = async {
        let answer = http.get(uri).await.context("no connection")?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|e| anyhow::anyhow!("the answer broke off: {e}"))?.to_bytes();
        if !status.is_success() {
            bail!("it answered {status}: {}", String::from_utf8_lossy(&body).trim());
        }
        Ok(())
    };
    tokio::time::timeout(OPERATOR, exchange).await.context("no answer in time")?
}
