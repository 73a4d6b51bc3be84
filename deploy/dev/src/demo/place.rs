//! The cluster of the demo: the one on this machine, or one that the user has.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use tokio::process::Child;

use super::NAMESPACE;
use super::bucket::{Bucket, Object};
use super::kubectl::Kubectl;
use crate::cluster::{Cluster, plan};
use crate::images;
use crate::process::{Run, find};
use crate::tools;

/// Port of the nodes that the quickstart's registry is exposed on.
const NODE_PORT: u16 = 30080;

/// Where the demo happens.
#[derive(Debug)]
pub(crate) struct Place {
    /// The way to talk to it.
    pub(crate) kubectl: Kubectl,
    helm: PathBuf,
    images: Images,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The cluster of `cargo dev up`: NodePorts and ClusterIPs answer on this machine.
    Here,
    /// A cluster of the user's: everything goes through the API server.
    Elsewhere,
}

/// References of the two images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Images {
    operator: String,
    registry: String,
}

/// How the registry is reached from this machine.
#[derive(Debug)]
pub(crate) struct Reached {
    /// Its index URL.
    pub(crate) index: String,
    /// What to type to reach it later, where that takes something.
    pub(crate) forward_for_people: Option<String>,
    /// Held as long as the demo talks to the registry.
    _forward: Option<Child>,
}

impl Place {
    /// The cluster on this machine, up, with the images of both programs and of the S3 server loaded into its nodes.
    pub(crate) async fn here() -> Result<Self> {
        let cluster = Cluster::ensure(1).await?;
        let products = images::build_products().await?;
        let s3_server = images::build_s3_server().await?;
        cluster.load(&[&products.operator, &products.registry, &s3_server]).await?;
        let kubectl =
            Kubectl { program: tools::binary("kubectl").await?, kubeconfig: Some(cluster.kubeconfig()), context: None };
        let images = Images { operator: products.operator.reference(), registry: products.registry.reference() };
        Ok(Self { kubectl, helm: tools::binary("helm").await?, images, kind: Kind::Here })
    }

    /// The cluster of a context in the user's kubeconfig, with images that it can pull.
    pub(crate) async fn elsewhere(context: String, operator: Option<String>, registry: Option<String>) -> Result<Self> {
        let (Some(operator), Some(registry)) = (operator, registry) else {
            bail!(
                "--context also needs --operator-image and --registry-image, which the cluster of {context} can pull. `cargo dev images` \
                 builds both and prints their archives; kind takes them with `kind load image-archive ARCHIVE`, minikube with \
                 `minikube image load ARCHIVE`, and for others there is `docker load --input ARCHIVE`, `docker tag`, `docker push`"
            )
        };
        let Some(program) = find("kubectl") else {
            bail!("kubectl is not in PATH: install it as for any use of the context {context}")
        };
        let helm = match find("helm") {
            Some(helm) => helm,
            None => tools::binary("helm").await?,
        };
        let kubectl = Kubectl { program, kubeconfig: None, context: Some(context.clone()) };
        kubectl
            .run(&["version"])
            .output()
            .await
            .with_context(|| format!("the cluster of context {context} does not answer"))?;
        Ok(Self { kubectl, helm, images: Images { operator, registry }, kind: Kind::Elsewhere })
    }

    /// Whether this is the cluster of `cargo dev up`.
    pub(crate) fn is_here(&self) -> bool {
        self.kind == Kind::Here
    }

    /// `helm` with these arguments, for the place's cluster.
    pub(crate) fn helm(&self, arguments: &[&str]) -> Run {
        let file = self.kubectl.kubeconfig.as_ref().map(|path| format!("--kubeconfig={}", path.display()));
        let context = self.kubectl.context.as_ref().map(|name| format!("--kube-context={name}"));
        Run::new(&self.helm).args(file).args(context).args(arguments)
    }

    /// `key=value` pairs that tell the chart which images to run. It takes whole references, so that any registry, tag or digest
    /// will do.
    pub(crate) fn image_values(&self) -> [String; 2] {
        let Images { operator, registry } = &self.images;
        [format!("image.reference={operator}"), format!("registry.image={registry}")]
    }

    /// `kubectl` as people have to type it.
    pub(crate) fn kubectl_for_people(&self) -> String {
        let program = if self.is_here() { self.kubectl.program.display().to_string() } else { "kubectl".to_owned() };
        std::iter::once(program).chain(self.kubectl.chosen()).collect::<Vec<_>>().join(" ")
    }

    /// A key of a Secret in the demo's namespace, decoded.
    pub(crate) async fn secret(&self, name: &str, key: &str) -> Result<String> {
        let template = format!("-o=go-template={{{{index .data {key:?} | base64decode}}}}");
        self.kubectl.run(&["-n", NAMESPACE, "get", "secret", name, &template]).output().await
    }

    /// The index URL of the quickstart's registry as this machine reaches it.
    pub(crate) async fn reach_registry(&self) -> Result<Reached> {
        let index = |host: &str, port: u16| format!("sparse+http://{host}:{port}/index/");
        if self.is_here() {
            let index = index(&plan::node_address(1).to_string(), NODE_PORT);
            return Ok(Reached { index, forward_for_people: None, _forward: None });
        }
        let (child, port) = self.kubectl.port_forward(NAMESPACE, "service/company", 80).await?;
        let people = format!("{} -n {NAMESPACE} port-forward service/company {port}:80", self.kubectl_for_people());
        Ok(Reached { index: index("127.0.0.1", port), forward_for_people: Some(people), _forward: Some(child) })
    }

    /// What lies in the bucket of the quickstart.
    pub(crate) async fn bucket_of_quickstart(&self) -> Result<Vec<Object>> {
        let (endpoint, _forward) = self.reach_s3().await?;
        let access = self.secret("company-s3", "AWS_ACCESS_KEY_ID").await?;
        let secret = self.secret("company-s3", "AWS_SECRET_ACCESS_KEY").await?;
        Bucket { endpoint: &endpoint, name: "company-crates", credentials: (&access, &secret) }.list().await
    }

    async fn reach_s3(&self) -> Result<(String, Option<Child>)> {
        if self.is_here() {
            let format = "-o=jsonpath={.spec.clusterIP}:{.spec.ports[0].port}";
            let address = self.kubectl.run(&["-n", NAMESPACE, "get", "service", "s3", format]).output().await?;
            return Ok((format!("http://{address}"), None));
        }
        let (child, port) = self.kubectl.port_forward(NAMESPACE, "service/s3", 7070).await?;
        Ok((format!("http://127.0.0.1:{port}"), Some(child)))
    }
}
