//! Ports, paths, arguments and files of the manifests are those of the program in the pod.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, ensure};
use clap::CommandFactory;
use http::StatusCode;
use k8s_openapi::{
    api::core::v1::{Container, PodSpec, Service},
    apimachinery::pkg::util::intstr::IntOrString,
};
use supercargo_registry::config::Backend;
use supercargo_tests::{http::get, local::LocalRegistry};

use crate::{
    config::rendered,
    fixture::{built, specs},
};

fn pod(spec: &serde_json::Value) -> Result<(PodSpec, BTreeMap<String, String>)> {
    let template = built(spec)?.deployment.spec.context("a Deployment without spec")?.template;
    let labels = template.metadata.and_then(|metadata| metadata.labels).context("pods without labels")?;
    Ok((template.spec.context("a pod template without spec")?, labels))
}

fn container(spec: &serde_json::Value) -> Result<Container> {
    pod(spec)?.0.containers.into_iter().next().context("a pod without container")
}

#[test]
fn the_arguments_are_understood() -> Result<()> {
    for spec in specs() {
        let arguments = container(&spec)?.args.context("a container without arguments")?;
        let line = std::iter::once("supercargo-registry".to_owned()).chain(arguments.clone());
        supercargo_registry::cli::Cli::command()
            .try_get_matches_from(line)
            .with_context(|| format!("the registry does not understand {arguments:?}"))?;
    }
    Ok(())
}

#[test]
fn services_lead_to_the_ports_that_are_listened_on() -> Result<()> {
    for spec in specs() {
        let config = rendered(&spec)?;
        let container = container(&spec)?;
        let number = |name: &str| {
            let ports = container.ports.iter().flatten();
            ports.filter(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port).next()
        };
        assert_eq!(number("http"), Some(i32::from(config.public.listen.port())));
        assert_eq!(number("internal"), Some(i32::from(config.internal.listen.port())));
        let resources = built(&spec)?;
        leads(&resources.public_service, 80, "http", config.public.listen.port())?;
        leads(&resources.internal_service, 8081, "internal", config.internal.listen.port())?;
    }
    Ok(())
}

/// The Service has this port, which leads to the named or numbered port of the pods.
fn leads(service: &Service, port: i32, name: &str, number: u16) -> Result<()> {
    let spec = service.spec.as_ref().context("a Service without spec")?;
    let found = spec.ports.iter().flatten().find(|found| found.port == port);
    let found = found.with_context(|| format!("no port {port} in {spec:?}"))?;
    let right = match &found.target_port {
        Some(IntOrString::String(target)) => target == name,
        Some(IntOrString::Int(target)) => *target == i32::from(number),
        None => port == i32::from(number),
    };
    ensure!(right, "port {port} leads to {:?}", found.target_port);
    Ok(())
}

#[test]
fn every_selector_finds_the_pods() -> Result<()> {
    for spec in specs() {
        let (_, labels) = pod(&spec)?;
        let resources = built(&spec)?;
        let selected = |selector: Option<BTreeMap<String, String>>, of: &str| {
            let selector =
                selector.filter(|selector| !selector.is_empty()).with_context(|| format!("{of} selects nothing"))?;
            let found = selector.iter().all(|(key, value)| labels.get(key) == Some(value));
            ensure!(found, "{of} selects {selector:?}, the pods carry {labels:?}");
            Ok(())
        };
        selected(resources.public_service.spec.and_then(|spec| spec.selector), "the public Service")?;
        selected(resources.internal_service.spec.and_then(|spec| spec.selector), "the internal Service")?;
        let deployment = resources.deployment.spec.context("a Deployment without spec")?;
        selected(deployment.selector.match_labels, "the Deployment")?;
        let policy = resources.network_policy.spec.context("a NetworkPolicy without spec")?;
        selected(policy.pod_selector.and_then(|selector| selector.match_labels), "the NetworkPolicy")?;
        if let Some(budget) = resources.disruption_budget {
            let selector = budget.spec.and_then(|spec| spec.selector).and_then(|selector| selector.match_labels);
            selected(selector, "the PodDisruptionBudget")?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn probes_ask_what_the_internal_listener_answers() -> Result<()> {
    let local = LocalRegistry::start("").await?;
    let container = container(&specs()[0])?;
    for probe in [&container.startup_probe, &container.readiness_probe, &container.liveness_probe] {
        let action = probe.as_ref().and_then(|probe| probe.http_get.as_ref()).context("a probe that is not HTTP")?;
        let path = action.path.as_deref().context("a probe without path")?;
        assert_eq!(action.port, IntOrString::String("internal".to_owned()));
        assert_eq!(action.scheme.as_deref(), Some("HTTPS"), "the internal listener has TLS, see the configuration");
        let (status, body) = get(&format!("{}{path}", local.internal()), None).await?;
        ensure!(status == StatusCode::OK, "GET {path}: {status} {body:?}");
    }
    local.stop().await
}

/// What the configuration names lies below a mount of the container, and what it writes to may be written to.
#[test]
fn every_file_of_the_configuration_is_mounted() -> Result<()> {
    for spec in specs() {
        let config = rendered(&spec)?;
        let tls = config.internal.tls.context("no TLS on the internal listener")?;
        let mut read = vec![tls.certificate, tls.private_key];
        read.extend(config.admin_token_file);
        read.extend(config.replicas.credential_file.into_iter().chain(config.replicas.ca_bundle_file));
        let mut written = vec![config.limits.spool_dir.unwrap_or_else(|| "/tmp".into())];
        match config.storage.backend {
            Backend::S3(s3) => read.extend(s3.ca_bundle_file.into_iter().chain(s3.credentials_dir)),
            Backend::File { directory } => written.push(directory),
            Backend::Memory => {}
        }
        let container = container(&spec)?;
        let mount = |path: &Path| {
            let mounts = container.volume_mounts.iter().flatten();
            mounts.filter(|mount| path.starts_with(&mount.mount_path)).max_by_key(|mount| mount.mount_path.len())
        };
        for path in &read {
            ensure!(mount(path).is_some(), "{spec}: {} is not mounted", path.display());
        }
        for path in &written {
            let found = mount(path).with_context(|| format!("{spec}: {} is not mounted", path.display()))?;
            ensure!(found.read_only != Some(true), "{spec}: {} is mounted read-only", path.display());
        }
    }
    Ok(())
}

/// A pod is given the time that the registry takes: the wait of its preStop hook and the drain.
#[test]
fn the_grace_period_is_longer_than_the_drain() -> Result<()> {
    for spec in specs() {
        let drain = rendered(&spec)?.limits.drain.as_secs();
        let (pod, _) = pod(&spec)?;
        let grace = pod.termination_grace_period_seconds.context("no grace period")?;
        ensure!(u64::try_from(grace)? > drain, "{spec}: {grace} s of grace for {drain} s of drain");
    }
    Ok(())
}
