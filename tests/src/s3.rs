//! Buckets on the S3 servers of the suite: versitygw in pods of the cluster, reached by pods and by the host alike
//! through their ClusterIPs.
//!
//! There is one good server and one that loses updates (`versitygw --sidecar`), for all tests together, in
//! [`NAMESPACE`]; each test has buckets of its own. `cargo dev test` removes the namespace when the suite ends.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_credential_types::Credentials;
use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Region},
};
use k8s_openapi::api::core::v1::Service;
use kube::{Api, ResourceExt};
use supercargo_dev::{process::Run, tools};
use tokio::sync::OnceCell;

use crate::kube::{TestNamespace, shared_namespace};

/// Where the servers run.
pub const NAMESPACE: &str = "supercargo-tests-s3";
/// Access key of the server's root account.
pub const ROOT_KEY: &str = "testroot";
/// Secret key of the server's root account.
pub const ROOT_SECRET: &str = "testroot-secret";
/// Port of every server.
const PORT: u16 = 7070;

/// Which of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Honours conditional writes.
    Honest,
    /// Loses updates: what the registry's proof has to find out.
    LosesUpdates,
}

impl Server {
    const ALL: [Self; 2] = [Self::Honest, Self::LosesUpdates];

    fn service(self) -> &'static str {
        match self {
            Self::Honest => "s3",
            Self::LosesUpdates => "s3-loses-updates",
        }
    }

    /// The endpoint as pods reach it.
    #[must_use]
    pub fn endpoint(self) -> String {
        format!("http://{}.{NAMESPACE}.svc:{PORT}", self.service())
    }

    fn manifest(self) -> String {
        let name = self.service();
        let backend = match self {
            Self::Honest => "--iam-dir /data/iam --health /health posix --versioning-dir /data/versions /data/buckets",
            Self::LosesUpdates => "--health /health posix --sidecar /data/sidecar /data/buckets",
        };
        let arguments: Vec<String> = backend.split_whitespace().map(|argument| format!("{argument:?}")).collect();
        include_str!("s3/server.yaml")
            .replace("$NAME", name)
            .replace("$BACKEND", &arguments.join(", "))
            .replace("$ACCESS", ROOT_KEY)
            .replace("$SECRET", ROOT_SECRET)
    }
}

/// A client of one server, from the host, with one account.
#[derive(Clone, Debug)]
pub struct Store {
    server: Server,
    address: String,
    client: Client,
}

impl Store {
    /// The server of the suite, as its root account; the first caller starts both servers.
    pub async fn of(server: Server) -> Result<Self> {
        static STARTED: OnceCell<()> = OnceCell::const_new();
        STARTED.get_or_try_init(start).await?;
        let services: Api<Service> = Api::namespaced(crate::kube::client().await?, NAMESPACE);
        let service = services.get(server.service()).await.context("the suite's S3 server")?;
        let ip = service
            .spec
            .as_ref()
            .and_then(|spec| spec.cluster_ip.clone())
            .with_context(|| format!("Service {} has no ClusterIP", service.name_any()))?;
        let address = format!("http://{ip}:{PORT}");
        let client = client(&address, ROOT_KEY, ROOT_SECRET);
        Ok(Self { server, address, client })
    }

    /// Which server this is.
    #[must_use]
    pub fn server(&self) -> Server {
        self.server
    }

    /// The endpoint as the host reaches it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Make a bucket.
    pub async fn create_bucket(&self, bucket: &str) -> Result<()> {
        self.client.create_bucket().bucket(bucket).send().await.with_context(|| format!("making bucket {bucket}"))?;
        Ok(())
    }

    /// Whether the bucket is there.
    pub async fn has_bucket(&self, bucket: &str) -> Result<bool> {
        let listed = self.client.list_buckets().send().await.context("listing buckets")?;
        Ok(listed.buckets().iter().any(|found| found.name() == Some(bucket)))
    }

    /// All keys of a bucket below a prefix, in order.
    pub async fn keys(&self, bucket: &str, prefix: &str) -> Result<Vec<String>> {
        let mut pages = self.client.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.with_context(|| format!("listing bucket {bucket}"))?;
            keys.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
        }
        Ok(keys)
    }

    /// The bytes of an object.
    pub async fn get(&self, bucket: &str, key: &str) -> Result<Vec<u8>> {
        let object = self
            .client
            .get_object()
            .bucket(bucket)
            .key(key)
            .send()
            .await
            .with_context(|| format!("reading {key} of bucket {bucket}"))?;
        Ok(object.body.collect().await?.into_bytes().to_vec())
    }

    /// Overwrite an object, or make one, as somebody would who goes past the registry.
    pub async fn put(&self, bucket: &str, key: &str, bytes: Vec<u8>) -> Result<()> {
        let put = self.client.put_object().bucket(bucket).key(key).body(bytes.into());
        put.send().await.with_context(|| format!("writing {key} of bucket {bucket}"))?;
        Ok(())
    }

    /// Whether versioning of the bucket is on.
    pub async fn is_versioned(&self, bucket: &str) -> Result<bool> {
        let found = self.client.get_bucket_versioning().bucket(bucket).send().await?;
        Ok(found.status().is_some_and(|status| status.as_str() == "Enabled"))
    }
}

/// An account of the good server besides root, which may do everything.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its access key.
    pub access_key: String,
    /// Its secret key.
    pub secret_key: String,
}

impl Account {
    /// Make one of this name.
    pub async fn create(store: &Store, name: &str) -> Result<Self> {
        let account = Self { access_key: name.to_owned(), secret_key: format!("secret-of-{name}") };
        let arguments =
            ["create-user", "--access", &account.access_key, "--secret", &account.secret_key, "--role", "admin"];
        administer(store, &arguments).await?;
        Ok(account)
    }

    /// Take it away: requests signed with it are refused from now on.
    pub async fn delete(&self, store: &Store) -> Result<()> {
        administer(store, &["delete-user", "--access", &self.access_key]).await
    }
}

/// The server's own tool for its administrators.
async fn administer(store: &Store, arguments: &[&str]) -> Result<()> {
    let program = tools::binary("versitygw").await?;
    Run::new(program)
        .args(["admin", "--access", ROOT_KEY, "--secret", ROOT_SECRET, "--endpoint-url", store.address()])
        .args(arguments)
        .output()
        .await?;
    Ok(())
}

/// A client for any S3 server without TLS, path style, without the SDK's own retries.
#[must_use]
pub fn client(endpoint: &str, access_key: &str, secret_key: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .credentials_provider(Credentials::from_keys(access_key, secret_key, None))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

/// Bring up both servers and wait until they answer S3.
async fn start() -> Result<()> {
    let namespace: TestNamespace = shared_namespace(NAMESPACE).await?;
    for server in Server::ALL {
        namespace.apply(&server.manifest()).await?;
    }
    for server in Server::ALL {
        namespace
            .wait("Deployment", server.service(), "it is available", Duration::from_secs(90), |object| {
                object.pointer("/status/availableReplicas").is_some_and(|count| *count == 1)
            })
            .await?;
    }
    Ok(())
}

/// A bucket name of the test's own: lower case, digits and dashes, below S3's 63 characters.
pub fn bucket_name(topic: &str) -> Result<String> {
    let name = format!("{}-{}", topic.replace('_', "-"), std::process::id() % 100_000);
    if name.len() > 63 {
        bail!("{name} is too long for a bucket");
    }
    Ok(name)
}
