//! What the API server does for users: refuse what cannot work, explain, show, scale; and the objects it is given to keep.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use supercargo_dev::cluster::Cluster;
use supercargo_tests::{
    kube::TestNamespace,
    registry::{self, on_bucket, token_for_all},
};

use crate::turns::in_namespace;

async fn refused(namespace: &TestNamespace, object: &Value, message: &str) -> Result<()> {
    let Err(error) = namespace.apply_object(object).await else {
        bail!("it was taken, in spite of {message:?}: {object}")
    };
    let said = format!("{error:#}");
    ensure!(said.contains(message), "expected {message:?}, the API server said {said}");
    Ok(())
}

fn registry_with(change: impl FnOnce(&mut Value)) -> Value {
    let mut object = on_bucket("company", "some-bucket");
    // Nothing is done for it, so that nothing has to be cleaned up.
    object["spec"]["paused"] = json!(true);
    change(&mut object);
    object
}

#[tokio::test]
async fn specs_that_cannot_work_are_refused_with_the_reason() -> Result<()> {
    in_namespace("specs_that_cannot_work", async |namespace| {
        let both = registry_with(|object| object["spec"]["storage"]["volume"] = json!({"size": "1Gi"}));
        refused(&namespace, &both, "set exactly one of storage.s3 and storage.volume").await?;
        let neither = registry_with(|object| object["spec"]["storage"] = json!({}));
        refused(&namespace, &neither, "set exactly one of storage.s3 and storage.volume").await?;
        let many = registry_with(|object| {
            object["spec"]["storage"] = json!({"volume": {"size": "1Gi"}});
            object["spec"]["replicas"] = json!(2);
        });
        refused(&namespace, &many, "a registry on storage.volume has one replica").await?;
        let two_identities =
            registry_with(|object| object["spec"]["storage"]["s3"]["serviceAccountName"] = json!("robot"));
        refused(&namespace, &two_identities, "at most one of credentialsSecretRef and serviceAccountName").await?;
        let path =
            registry_with(|object| object["spec"]["storage"]["s3"]["endpoint"] = json!("http://s3.example.com/path"));
        refused(&namespace, &path, "an endpoint is http:// or https:// with a host").await?;
        let port = registry_with(|object| object["spec"]["expose"] = json!({"service": {"nodePort": 30090}}));
        refused(&namespace, &port, "nodePort needs type: NodePort or LoadBalancer").await?;
        let unknown = registry_with(|object| object["spec"]["replica"] = json!(2));
        refused(&namespace, &unknown, "replica").await?;
        let name = registry_with(|object| object["metadata"]["name"] = json!("1st"));
        refused(&namespace, &name, "beginning with a letter").await?;
        let kms = registry_with(|object| object["spec"]["bucket"] = json!({"encryption": {"kmsKeyId": "k"}}));
        refused(&namespace, &kms, "kmsKeyId needs algorithm: KMS").await?;

        let mut short = token_for_all("builds", "company");
        short["spec"]["expiresAfter"] = json!("1m");
        refused(&namespace, &short, "expiresAfter lies between 10m and 87600h").await?;
        let mut verb = token_for_all("builds", "company");
        verb["spec"]["grants"] = json!([{"verbs": ["Write"]}]);
        refused(&namespace, &verb, "Unsupported value: \"Write\"").await
    })
    .await
}

/// What would leave crates behind, or a token in a registry that forgot about it.
#[tokio::test]
async fn what_must_not_change_cannot_be_changed() -> Result<()> {
    in_namespace("what_must_not_change", async |namespace| {
        namespace.apply_object(&registry_with(|_| {})).await?;
        let bucket = registry_with(|object| object["spec"]["storage"]["s3"]["bucket"] = json!("another-bucket"));
        refused(&namespace, &bucket, "bucket and prefix cannot change").await?;
        let volume = registry_with(|object| object["spec"]["storage"] = json!({"volume": {"size": "1Gi"}}));
        refused(&namespace, &volume, "a registry cannot change between storage.s3 and storage.volume").await?;
        namespace.apply_object(&token_for_all("builds", "company")).await?;
        refused(&namespace, &token_for_all("builds", "other"), "registryRef cannot change").await
    })
    .await
}

/// `kubectl explain` is documentation: every field of both specs has a sentence.
#[tokio::test]
async fn kubectl_explains_every_field() -> Result<()> {
    let cluster = Cluster::find_or_say_how()?;
    for (kind, fields) in [
        ("cargoregistry.spec", ["storage", "bucket", "replicas", "expose", "access", "limits", "paused"].as_slice()),
        ("cargoregistry.spec.storage.s3", &["bucket", "region", "endpoint", "credentialsSecretRef", "caBundle"]),
        ("cargoregistry.spec.bucket", &["creationPolicy", "deletionPolicy", "versioning", "lifecycle", "tags"]),
        ("cargotoken.spec", &["registryRef", "grants", "expiresAfter", "secretName", "user"]),
    ] {
        let said = cluster.kubectl(["explain", kind]).output().await?;
        let lines: Vec<&str> = said.lines().collect();
        for field in fields {
            let at = lines.iter().position(|line| line.trim_start().starts_with(&format!("{field}\t")));
            let at = at.with_context(|| format!("kubectl explain {kind} does not know {field}:\n{said}"))?;
            let sentence = lines.get(at + 1).is_some_and(|line| line.trim().len() > 10);
            ensure!(sentence, "kubectl explain {kind} says nothing about {field}:\n{said}");
        }
        ensure!(!said.contains("<no description>"), "{kind} has a field without description:\n{said}");
    }
    Ok(())
}

/// The objects around a registry: who may connect, how many may be away, what people see, and that it scales.
#[tokio::test]
async fn a_registry_is_guarded_shown_and_scaled() -> Result<()> {
    in_namespace("a_registry_is_guarded", async |namespace| {
        let running = registry::start(&namespace, "company", |_| {}).await?;
        let policy = namespace.get("NetworkPolicy", "company").await?.context("there is no NetworkPolicy")?;
        guards(&policy).with_context(|| format!("{:#}", policy["spec"]))?;
        let budget =
            namespace.get("PodDisruptionBudget", "company").await?.context("there is no PodDisruptionBudget")?;
        let selector = budget.pointer("/spec/selector/matchLabels/supercargo.dev~1registry");
        ensure!(selector == Some(&json!("company")), "the budget is for other pods: {budget:#}");

        let cluster = Cluster::find_or_say_how()?;
        let shown = cluster.kubectl(["-n", namespace.name(), "get", "cargo"]).output().await?;
        for expected in ["NAME", "READY", "INDEX", "company", "True", "sparse+http://company."] {
            ensure!(shown.contains(expected), "kubectl get cargo does not show {expected}:\n{shown}");
        }
        cluster.kubectl(["-n", namespace.name(), "scale", "cargoregistry/company", "--replicas=3"]).output().await?;
        running.rolled_out(3).await
    })
    .await
}

/// The public port is open, the internal one to the operator alone, and nothing else is.
fn guards(policy: &Value) -> Result<()> {
    let pods = policy.pointer("/spec/podSelector/matchLabels/supercargo.dev~1registry");
    ensure!(pods == Some(&json!("company")), "it is for other pods");
    let types = policy.pointer("/spec/policyTypes").and_then(Value::as_array).context("no policyTypes")?;
    ensure!(types.contains(&json!("Ingress")), "ingress is not restricted");
    let rules = policy.pointer("/spec/ingress").and_then(Value::as_array).context("no ingress rules")?;
    let (mut public, mut internal) = (false, false);
    for rule in rules {
        for port in rule["ports"].as_array().context("a rule for every port")? {
            match port["port"].as_str().map(str::to_owned).unwrap_or_else(|| port["port"].to_string()).as_str() {
                "http" | "8080" => public = true,
                "internal" | "8081" => {
                    let from = rule["from"].as_array().context("the internal port is open to everyone")?;
                    let text = serde_json::to_string(from)?;
                    ensure!(text.contains("supercargo-system"), "the internal port is open to {text}");
                    internal = true;
                }
                other => bail!("a rule for port {other}"),
            }
        }
    }
    ensure!(public && internal, "public port allowed: {public}, internal port allowed: {internal}");
    Ok(())
}
