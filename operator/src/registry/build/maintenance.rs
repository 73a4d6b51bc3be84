//! CronJobs over the bucket: the check and the garbage collection, in the same image, with the same configuration and credentials as the
//! replicas. A volume has none: its one process holds it.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{
    CronJob, CronJobSpec, JobSpec, JobTemplateSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{PodTemplateSpec, ResourceRequirements};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::{metadata, pod};
use crate::names::{self, ChildNames};
use crate::registry::digest::hash;
use crate::registry::validate::{Storage, ValidatedRegistry};

/// How late a run may begin, if the cluster was down at its time.
const START_DEADLINE_SECS: i64 = 3600;
/// How long a run may take: reading every file of a large registry takes hours.
const RUN_DEADLINE_SECS: i64 = 12 * 3600;
/// Exit statuses of `supercargo-registry` that another attempt does not change: a wrong configuration, and something found.
const FINAL_STATUSES: [i32; 2] = [2, 3];

pub(super) fn fsck(registry: &ValidatedRegistry) -> Option<Box<CronJob>> {
    let spec = &registry.maintenance.fsck;
    let mut args = vec!["fsck".to_owned()];
    args.extend(spec.deep.then(|| "--deep".to_owned()));
    args.extend(spec.repair.then(|| "--repair".to_owned()));
    let names = ChildNames::of(&registry.name);
    cron_job(registry, &names.fsck(), spec.schedule.as_deref(), spec.suspend, args)
}

pub(super) fn gc(registry: &ValidatedRegistry) -> Option<Box<CronJob>> {
    let spec = &registry.maintenance.gc;
    let args = vec!["gc".to_owned(), format!("--dry-run={}", spec.dry_run)];
    let names = ChildNames::of(&registry.name);
    cron_job(registry, &names.gc(), spec.schedule.as_deref(), spec.suspend, args)
}

/// Nobody connects to these pods.
pub(super) fn network_policy(registry: &ValidatedRegistry) -> Option<NetworkPolicy> {
    matches!(registry.storage, Storage::S3(_)).then(|| NetworkPolicy {
        metadata: metadata(registry, &ChildNames::of(&registry.name).maintenance()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(own_pods(registry)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: None,
            egress: None,
        }),
    })
}

pub(super) fn own_pods(registry: &ValidatedRegistry) -> LabelSelector {
    let labels = names::maintenance_labels(&registry.name);
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}

fn cron_job(
    registry: &ValidatedRegistry,
    name: &str,
    schedule: Option<&str>,
    suspend: bool,
    args: Vec<String>,
) -> Option<Box<CronJob>> {
    let Storage::S3(_) = registry.storage else { return None };
    Some(Box::new(CronJob {
        metadata: metadata(registry, name),
        spec: Some(CronJobSpec {
            schedule: schedule.map_or_else(|| nightly(registry, &args[0]), str::to_owned),
            time_zone: Some("Etc/UTC".to_owned()),
            concurrency_policy: Some("Forbid".to_owned()),
            starting_deadline_seconds: Some(START_DEADLINE_SECS),
            successful_jobs_history_limit: Some(1),
            failed_jobs_history_limit: Some(3),
            suspend: Some(suspend),
            job_template: JobTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels(registry)), ..ObjectMeta::default() }),
                spec: Some(job(registry, args)),
            },
        }),
        ..CronJob::default()
    }))
}

fn job(registry: &ValidatedRegistry, args: Vec<String>) -> JobSpec {
    let final_statuses = PodFailurePolicyRule {
        action: "FailJob".to_owned(),
        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
            container_name: Some(pod::CONTAINER.to_owned()),
            operator: "In".to_owned(),
            values: FINAL_STATUSES.to_vec(),
        }),
        on_pod_conditions: None,
    };
    JobSpec {
        active_deadline_seconds: Some(RUN_DEADLINE_SECS),
        backoff_limit: Some(2),
        pod_failure_policy: Some(PodFailurePolicy { rules: vec![final_statuses] }),
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta { labels: Some(labels(registry)), ..ObjectMeta::default() }),
            spec: Some(pod::once(registry, args, resources())),
        },
        ..JobSpec::default()
    }
}

/// These pods carry no label by which a Service, the Deployment or its budget would take them for replicas.
fn labels(registry: &ValidatedRegistry) -> BTreeMap<String, String> {
    let mut labels = names::maintenance_labels(&registry.name);
    labels.insert("app.kubernetes.io/component".to_owned(), "maintenance".to_owned());
    labels.insert("app.kubernetes.io/managed-by".to_owned(), names::MANAGED_BY.to_owned());
    labels
}

/// A record at a time and a few pages of listings; what grows with the registry are the names of crates and of changes.
fn resources() -> ResourceRequirements {
    let of = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(resource, amount)| ((*resource).to_owned(), Quantity((*amount).to_owned()))).collect()
    };
    ResourceRequirements {
        requests: Some(of(&[("cpu", "50m"), ("memory", "64Mi"), ("ephemeral-storage", "16Mi")])),
        limits: Some(of(&[("memory", "1Gi"), ("ephemeral-storage", "64Mi")])),
        claims: None,
    }
}

/// Between 1 and 5 at night, at a minute that follows from what it is for.
fn nightly(registry: &ValidatedRegistry, job: &str) -> String {
    const MINUTES: u32 = 4 * 60;
    let digest = hash([registry.namespace.as_bytes(), registry.name.as_bytes(), job.as_bytes()]);
    let number = u32::from_str_radix(&digest[..7], 16).expect("hexadecimal digits");
    let minute = number % MINUTES;
    format!("{} {} * * *", minute % 60, 1 + minute / 60)
}
