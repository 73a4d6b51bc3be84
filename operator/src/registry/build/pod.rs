//! The pod of one replica: Pod Security "restricted", a read-only root, no token of the API server.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar,
    EnvVarSource, HTTPGetAction, KeyToPath, Lifecycle, LifecycleHandler, ObjectFieldSelector,
    PersistentVolumeClaimVolumeSource, PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec, Probe,
    ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, SleepAction, TopologySpreadConstraint,
    Volume, VolumeMount, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::config_map::FILE;
use super::service_account;
use crate::names::{ChildNames, INTERNAL_PORT, PUBLIC_PORT, selector};
use crate::registry::validate::{DRAIN_SECONDS, Storage, ValidatedRegistry};
use crate::registry::{disk_cache, spool};

/// Directory of the configuration file.
const CONFIG_DIRECTORY: &str = "/etc/supercargo";
/// Where the internal Secret is mounted.
pub(super) const INTERNAL_DIRECTORY: &str = "/etc/supercargo/internal";
/// Where the S3 credentials are mounted.
pub(super) const CREDENTIALS_DIRECTORY: &str = "/etc/supercargo/s3";
/// Directory of [`CA_FILE`].
const CA_DIRECTORY: &str = "/etc/supercargo/s3-ca";
/// The CA bundle of the S3 endpoint.
pub(super) const CA_FILE: &str = "/etc/supercargo/s3-ca/ca.crt";
/// Where the volume is mounted.
pub(super) const DATA_DIRECTORY: &str = "/var/lib/supercargo";
/// Uploads wait here while they are checked.
pub(super) const SPOOL_DIRECTORY: &str = "/tmp";
/// Where crate files are kept on the node's disk.
pub(super) const CACHE_DIRECTORY: &str = "/var/cache/supercargo";

/// Name of the container.
pub(super) const CONTAINER: &str = "registry";
/// User and group of the image; the group also owns mounted files.
const USER: i64 = 65532;
/// Seconds between the pod's leaving the endpoints and SIGTERM, so that no new connection meets a closed door.
const LEAVE_SECONDS: i64 = 5;
/// Seconds beyond the drain until the kubelet kills.
const KILL_MARGIN_SECONDS: i64 = 10;

pub(super) fn build(registry: &ValidatedRegistry) -> PodSpec {
    let names = ChildNames::of(&registry.name);
    let mut mounts = mounts(registry, &registry.limits);
    if let Some(size) = &registry.disk_cache {
        let source = EmptyDirVolumeSource { medium: None, size_limit: Some(size.clone()) };
        let volume = Volume { empty_dir: Some(source), ..named("cache") };
        mounts.push((volume, VolumeMount { read_only: None, ..read_only("cache", CACHE_DIRECTORY) }));
    }
    let account = service_account::given_name(registry);
    PodSpec {
        service_account_name: Some(account.unwrap_or(names.main()).to_owned()),
        automount_service_account_token: Some(false),
        // A Service called `supercargo` would put variables with our prefix into the environment, and unknown ones are refused.
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(
            LEAVE_SECONDS + registry.client_limits.drain_seconds.unwrap_or(DRAIN_SECONDS) + KILL_MARGIN_SECONDS,
        ),
        security_context: Some(pod_security()),
        affinity: Some(apart(registry)),
        topology_spread_constraints: Some(vec![across_zones(registry)]),
        containers: vec![container(registry, mounts.iter().map(|(_, mount)| mount.clone()).collect())],
        volumes: Some(mounts.into_iter().map(|(volume, _)| volume).collect()),
        ..PodSpec::default()
    }
}

/// A pod that runs one command to its end beside the replicas, over the same bucket.
pub(super) fn once(registry: &ValidatedRegistry, mut args: Vec<String>, resources: ResourceRequirements) -> PodSpec {
    let names = ChildNames::of(&registry.name);
    let mounts = mounts(registry, resources.limits.as_ref().unwrap_or(&registry.limits));
    let account = service_account::given_name(registry);
    args.extend(["--config".to_owned(), format!("{CONFIG_DIRECTORY}/{FILE}")]);
    PodSpec {
        service_account_name: Some(account.unwrap_or(names.main()).to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        restart_policy: Some("Never".to_owned()),
        security_context: Some(pod_security()),
        containers: vec![Container {
            name: CONTAINER.to_owned(),
            image: Some(registry.image.clone()),
            image_pull_policy: Some(registry.image_pull_policy.clone()),
            args: Some(args),
            resources: Some(resources),
            security_context: Some(security()),
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            volume_mounts: Some(mounts.iter().map(|(_, mount)| mount.clone()).collect()),
            ..Container::default()
        }],
        volumes: Some(mounts.into_iter().map(|(volume, _)| volume).collect()),
        ..PodSpec::default()
    }
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

fn security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
        ..SecurityContext::default()
    }
}

fn container(registry: &ValidatedRegistry, mounts: Vec<VolumeMount>) -> Container {
    Container {
        name: CONTAINER.to_owned(),
        image: Some(registry.image.clone()),
        image_pull_policy: Some(registry.image_pull_policy.clone()),
        args: Some(vec!["serve".to_owned(), "--config".to_owned(), format!("{CONFIG_DIRECTORY}/{FILE}")]),
        env: matches!(registry.storage, Storage::S3(_)).then(own_address),
        ports: Some(vec![port("http", PUBLIC_PORT), port("internal", INTERNAL_PORT)]),
        resources: Some(ResourceRequirements {
            requests: Some(with_cache(registry, &registry.requests)),
            limits: Some(with_cache(registry, &registry.limits)),
            claims: None,
        }),
        // Alive is not ready: a store that is away makes every replica unready, and restarting them would mend nothing.
        startup_probe: Some(probe("/livez", 1, 60)),
        readiness_probe: Some(probe("/readyz", 2, 3)),
        liveness_probe: Some(probe("/livez", 10, 3)),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: LEAVE_SECONDS }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        security_context: Some(security()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

fn with_cache(registry: &ValidatedRegistry, amounts: &BTreeMap<String, Quantity>) -> BTreeMap<String, Quantity> {
    registry.disk_cache.as_ref().map_or_else(|| amounts.clone(), |size| disk_cache::with_room(amounts, size))
}

/// Where the other replicas reach this one.
fn own_address() -> Vec<EnvVar> {
    let pod_ip = ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: "status.podIP".to_owned() };
    let source = EnvVarSource { field_ref: Some(pod_ip), ..EnvVarSource::default() };
    let address = format!("$(POD_IP):{INTERNAL_PORT}");
    vec![
        EnvVar { name: "POD_IP".to_owned(), value_from: Some(source), value: None },
        EnvVar { name: "SUPERCARGO_REPLICAS_ADDRESS".to_owned(), value: Some(address), value_from: None },
    ]
}

fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str, period_secs: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("internal".to_owned()),
            scheme: Some("HTTPS".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_secs),
        timeout_seconds: Some(3),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

/// Replicas keep to different nodes where there is room.
fn apart(registry: &ValidatedRegistry) -> Affinity {
    let others = PodAffinityTerm {
        label_selector: Some(own_pods(registry)),
        topology_key: "kubernetes.io/hostname".to_owned(),
        ..PodAffinityTerm::default()
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                weight: 100,
                pod_affinity_term: others,
            }]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn across_zones(registry: &ValidatedRegistry) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "topology.kubernetes.io/zone".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(own_pods(registry)),
        // Each rollout is spread by itself; the replicas it replaces do not count.
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        ..TopologySpreadConstraint::default()
    }
}

fn own_pods(registry: &ValidatedRegistry) -> LabelSelector {
    LabelSelector { match_labels: Some(selector(&registry.name)), ..LabelSelector::default() }
}

/// Every volume with its one mount.
fn mounts(registry: &ValidatedRegistry, limits: &BTreeMap<String, Quantity>) -> Vec<(Volume, VolumeMount)> {
    let names = ChildNames::of(&registry.name);
    let mut all = vec![
        (config_map("config", &names.config(), None), config_file()),
        (secret("internal", &names.internal(), None), read_only("internal", INTERNAL_DIRECTORY)),
        (scratch(limits), VolumeMount { read_only: None, ..read_only("tmp", SPOOL_DIRECTORY) }),
    ];
    match &registry.storage {
        Storage::Volume(_) => {
            let claim = PersistentVolumeClaimVolumeSource { claim_name: names.data(), read_only: None };
            let volume = Volume { persistent_volume_claim: Some(claim), ..named("data") };
            all.push((volume, VolumeMount { read_only: None, ..read_only("data", DATA_DIRECTORY) }));
        }
        Storage::S3(s3) => {
            if let Some(reference) = &s3.spec.credentials_secret_ref {
                all.push((secret("s3", &reference.name, None), read_only("s3", CREDENTIALS_DIRECTORY)));
            }
            if let Some(bundle) = &s3.spec.ca_bundle {
                let volume = match (&bundle.secret_key_ref, &bundle.config_map_key_ref) {
                    (Some(key), _) => secret("s3-ca", &key.name, Some(&key.key)),
                    (None, Some(key)) => config_map("s3-ca", &key.name, Some(&key.key)),
                    (None, None) => return all, // refused in validate
                };
                all.push((volume, read_only("s3-ca", CA_DIRECTORY)));
            }
        }
    }
    all
}

fn named(name: &str) -> Volume {
    Volume { name: name.to_owned(), ..Volume::default() }
}

fn read_only(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), read_only: Some(true), ..VolumeMount::default() }
}

/// The one file of the configuration. As a sub-path it does not change under a running replica: a new one comes with the rollout.
fn config_file() -> VolumeMount {
    VolumeMount { sub_path: Some(FILE.to_owned()), ..read_only("config", &format!("{CONFIG_DIRECTORY}/{FILE}")) }
}

/// A Secret, whole or its one `key` as `ca.crt`.
fn secret(volume: &str, name: &str, key: Option<&str>) -> Volume {
    let source = SecretVolumeSource {
        secret_name: Some(name.to_owned()),
        default_mode: Some(0o440),
        items: key.map(as_ca),
        optional: None,
    };
    Volume { secret: Some(source), ..named(volume) }
}

/// A ConfigMap, whole or its one `key` as `ca.crt`.
fn config_map(volume: &str, name: &str, key: Option<&str>) -> Volume {
    let source = ConfigMapVolumeSource {
        name: name.to_owned(),
        default_mode: Some(0o440),
        items: key.map(as_ca),
        optional: None,
    };
    Volume { config_map: Some(source), ..named(volume) }
}

fn as_ca(key: &str) -> Vec<KeyToPath> {
    vec![KeyToPath { key: key.to_owned(), path: "ca.crt".to_owned(), mode: None }]
}

/// Room for spooled uploads, within the container's limit of ephemeral storage.
fn scratch(limits: &BTreeMap<String, Quantity>) -> Volume {
    let source = EmptyDirVolumeSource { medium: None, size_limit: limits.get(spool::RESOURCE).cloned() };
    Volume { empty_dir: Some(source), ..named("tmp") }
}
