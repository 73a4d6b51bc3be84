//! (object, observed, config) -> [`ValidatedRegistry`], the only input of `build`. Pure.
//!
//! What the schema's CEL rules refuse is refused here again, because a cluster may still hold the CRD of another version.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;

use super::base_url::BaseUrl;
use super::internal::Internal;
use super::model::{Live, Observed, Problem};
use super::resources::resources;
use super::{disk_cache, quantity};
use crate::bucket::{Credentials, Target};
use crate::config::Config;
use crate::crd::bucket::BucketSpec;
use crate::crd::maintenance::MaintenanceSpec;
use crate::crd::registry::{
    CaBundle, CargoRegistry, CargoRegistrySpec, ImagePullPolicy, LimitsSpec, S3Storage, ServiceSpec, Visibility,
    VolumeStorage,
};
use crate::names::{self, ChildNames};

/// A registry whose spec was checked and whose references were found. Nothing else makes one, so a builder may trust it.
#[derive(Clone)]
pub struct ValidatedRegistry {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// Controller reference for children.
    pub owner: OwnerReference,
    /// Where crates are kept.
    pub storage: Storage,
    /// How many replicas.
    pub replicas: i32,
    /// Image of the container.
    pub image: String,
    /// Pull policy of the container.
    pub image_pull_policy: String,
    /// Requests of the container, defaults filled in.
    pub requests: BTreeMap<String, Quantity>,
    /// Limits of the container, defaults filled in.
    pub limits: BTreeMap<String, Quantity>,
    /// Base URL for people, if one was given.
    pub url: Option<String>,
    /// The public Service.
    pub service: ServiceSpec,
    /// Who may read without a token.
    pub visibility: Visibility,
    /// Bounds for clients.
    pub client_limits: LimitsSpec,
    /// Room for crate files on the node's disk.
    pub disk_cache: Option<Quantity>,
    /// When the bucket is checked and cleaned up.
    pub maintenance: MaintenanceSpec,
    /// Contents of the internal Secret.
    pub internal: Internal,
    /// Namespace whose pods may connect to the internal port.
    pub operator_namespace: String,
}

/// Where crates are kept.
#[derive(Clone)]
pub enum Storage {
    /// In a bucket.
    S3(Box<S3>),
    /// On a volume.
    Volume(VolumeStorage),
}

/// A bucket as the pods reach it.
#[derive(Clone)]
pub struct S3 {
    /// The spec.
    pub spec: S3Storage,
    /// Hash of the credentials, if they come from a Secret.
    pub credentials_hash: Option<String>,
    /// Hash of the CA bundle, if there is one.
    pub ca_hash: Option<String>,
}

/// Seconds that requests under way are given by default; the registry's own default.
pub const DRAIN_SECONDS: i64 = 25;
/// Most that Kubernetes takes for the name of a Service (63), less `-internal`.
const NAME_CHARACTERS_MAX: usize = 54;

/// Checks everything and names all that is wrong, not only the first thing.
///
/// # Errors
/// Problems for a person to mend; never empty.
pub fn validate(
    registry: &CargoRegistry,
    observed: &Observed,
    config: &Config,
    internal: Internal,
) -> Result<ValidatedRegistry, Vec<Problem>> {
    let spec = &registry.spec;
    let name = registry.name_any();
    let mut problems = spec_problems(&name, spec);
    problems.extend(observed.credentials.problem().cloned());
    problems.extend(observed.ca_bundle.problem().cloned());
    problems.extend(observed.service_account.problem().cloned());
    let uid = registry.uid().unwrap_or_default();
    problems.extend(taken_names(&name, &uid, &observed.live));

    let storage = match (&spec.storage.s3, &spec.storage.volume) {
        (Some(s3), None) => Some(Storage::S3(Box::new(S3 {
            spec: s3.clone(),
            credentials_hash: observed.credentials.hash().map(str::to_owned),
            ca_hash: observed.ca_bundle.hash().map(str::to_owned),
        }))),
        (None, Some(volume)) => {
            problems.extend(shrinks(volume, &observed.live));
            Some(Storage::Volume(volume.clone()))
        }
        _ => None, // named in spec_problems
    };
    let (requests, limits) = resources(spec, &mut problems);
    problems.extend(spec.cache.as_ref().and_then(|cache| disk_cache::problem(cache.disk_size.as_ref()?)));
    match (storage, names::owner_reference(registry), registry.namespace()) {
        (Some(storage), Some(owner), Some(namespace)) if problems.is_empty() => Ok(ValidatedRegistry {
            replicas: replicas(spec),
            image: spec.image.clone().unwrap_or_else(|| config.registry_image.clone()),
            image_pull_policy: pull_policy(spec, config),
            url: spec.expose.url.clone(),
            service: spec.expose.service.clone(),
            visibility: spec.access.visibility,
            client_limits: spec.limits.clone(),
            disk_cache: spec.cache.as_ref().and_then(|cache| cache.disk_size.clone()),
            maintenance: spec.maintenance.clone().unwrap_or_default(),
            operator_namespace: config.operator_namespace.clone(),
            name,
            namespace,
            owner,
            storage,
            requests,
            limits,
            internal,
        }),
        (_, Some(_), Some(_)) => Err(problems),
        _ => Err(vec![Problem::new(
            "InvalidSpec",
            "the object has no UID or no namespace: it is not from an API server",
        )]),
    }
}

/// Replicas that are to be: the spec's, or 2 in a bucket and 1 on a volume.
pub fn replicas(spec: &CargoRegistrySpec) -> i32 {
    spec.replicas.unwrap_or(if spec.storage.s3.is_some() { 2 } else { 1 })
}

/// The bucket and the way to it; `None` for a volume, or when a reference cannot be used.
pub fn bucket_target(spec: &CargoRegistrySpec, observed: &Observed) -> Option<Target> {
    let s3 = spec.storage.s3.as_ref()?;
    if observed.credentials.problem().is_some() || observed.ca_bundle.problem().is_some() {
        return None;
    }
    Some(Target {
        bucket: s3.bucket.clone(),
        region: s3.region.clone(),
        endpoint: s3.endpoint.clone(),
        force_path_style: s3.force_path_style,
        ca_bundle: observed.ca_bundle.value().cloned(),
        credentials: observed.credentials.value().cloned().unwrap_or(Credentials::Ambient),
        prefix: s3.prefix.clone(),
    })
}

/// `spec.bucket`, or its defaults.
pub fn bucket_spec(spec: &CargoRegistrySpec) -> BucketSpec {
    spec.bucket.clone().unwrap_or_default()
}

fn pull_policy(spec: &CargoRegistrySpec, config: &Config) -> String {
    match spec.image_pull_policy {
        Some(ImagePullPolicy::Always) => "Always".into(),
        Some(ImagePullPolicy::IfNotPresent) => "IfNotPresent".into(),
        Some(ImagePullPolicy::Never) => "Never".into(),
        None => config.registry_image_pull_policy.clone(),
    }
}

fn spec_problems(name: &str, spec: &CargoRegistrySpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse_if = |broken: bool, message: &str| {
        if broken {
            problems.push(Problem::new("InvalidSpec", message));
        }
    };
    let fits = name.len() <= NAME_CHARACTERS_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    refuse_if(
        !fits,
        "the name becomes that of Services: at most 54 characters, lower-case letters, digits and '-', beginning with a letter",
    );
    let storage = &spec.storage;
    refuse_if(storage.s3.is_some() == storage.volume.is_some(), "set exactly one of storage.s3 and storage.volume");
    refuse_if(
        storage.volume.is_some() && spec.replicas.is_some_and(|n| n > 1),
        "a registry on storage.volume has one replica; use storage.s3 for more",
    );
    refuse_if(
        storage.volume.is_some() && spec.bucket.is_some(),
        "bucket configures the bucket of storage.s3; a registry on storage.volume has none",
    );
    refuse_if(
        storage.volume.is_some() && spec.maintenance.is_some(),
        "maintenance runs beside the replicas, and a volume has room for one process only: stop the registry (replicas: 0) and run `supercargo-registry fsck` or `gc` on the volume, or use storage.s3",
    );
    refuse_if(
        storage.volume.is_some() && spec.cache.is_some(),
        "cache keeps what lies in the bucket of storage.s3; on storage.volume everything is on a disk already",
    );
    let schedules = spec.maintenance.iter().flat_map(|m| [&m.fsck.schedule, &m.gc.schedule]).flatten();
    for schedule in schedules {
        let fits = schedule.starts_with('@') || schedule.split(' ').filter(|field| !field.is_empty()).count() == 5;
        refuse_if(
            !fits,
            "a schedule of maintenance has five fields, such as `30 2 * * 6`, or is @hourly, @daily, @weekly, @monthly or @yearly",
        );
    }
    refuse_if(spec.replicas.is_some_and(|n| n < 0), "replicas cannot be negative");
    refuse_if(
        spec.expose.url.as_deref().is_some_and(|url| BaseUrl::parse(url).is_none()),
        "expose.url is http:// or https:// with a host, without a user, a query or a trailing slash, and does not end in .git",
    );
    problems.extend(storage.s3.iter().flat_map(|s3| s3_problems(s3, spec.expose.url.as_deref())));
    problems
}

/// `own_url`: where clients reach the registry.
fn s3_problems(s3: &S3Storage, own_url: Option<&str>) -> impl Iterator<Item = Problem> {
    let is_bad =
        |url: &Option<String>| url.as_deref().is_some_and(|url| BaseUrl::parse(url).is_none_or(|url| url.has_path()));
    let own = own_url.and_then(BaseUrl::parse);
    let is_ours = |url: BaseUrl| own.as_ref().is_some_and(|own| own.authority() == url.authority());
    let ambiguous = |bundle: &CaBundle| bundle.secret_key_ref.is_some() == bundle.config_map_key_ref.is_some();
    let rules = [
        (
            s3.credentials_secret_ref.is_some() && s3.service_account_name.is_some(),
            "set at most one of storage.s3.credentialsSecretRef and storage.s3.serviceAccountName",
        ),
        (
            s3.ca_bundle.as_ref().is_some_and(ambiguous),
            "set exactly one of caBundle.secretKeyRef and caBundle.configMapKeyRef",
        ),
        (
            is_bad(&s3.endpoint),
            "storage.s3.endpoint is http:// or https:// with a host, without a path, a user or a trailing slash",
        ),
        (
            is_bad(&s3.public_endpoint),
            "storage.s3.publicEndpoint is http:// or https:// with a host, without a path, a user or a trailing slash",
        ),
        (
            s3.public_endpoint.as_deref().and_then(BaseUrl::parse).is_some_and(is_ours),
            "storage.s3.publicEndpoint has the host and port of expose.url: Cargo would send its token there, which S3 refuses",
        ),
    ];
    rules.into_iter().filter(|(broken, _)| *broken).map(|(_, message)| Problem::new("InvalidSpec", message))
}

fn shrinks(volume: &VolumeStorage, live: &Live) -> Option<Problem> {
    let claim = live.volume_claim.as_ref()?;
    let current = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage")?;
    let (wanted, held) = (quantity::nano(&volume.size.0)?, quantity::nano(&current.0)?);
    (wanted < held).then(|| {
        let name = claim.name_any();
        let message = format!(
            "storage.volume.size is {}, and PersistentVolumeClaim {name} already has {}: a volume cannot shrink. Set size to {} or more",
            volume.size.0, current.0, current.0
        );
        Problem::new("VolumeCannotShrink", message)
    })
}

/// Objects that bear one of our names and are somebody else's. They are never taken over.
fn taken_names(name: &str, uid: &str, live: &Live) -> Vec<Problem> {
    let names = ChildNames::of(name);
    let Live {
        service_account,
        config_map,
        internal_secret,
        volume_claim,
        public_service,
        internal_service,
        network_policy,
        disruption_budget,
        deployment,
        maintenance_policy,
        fsck,
        gc,
    } = live;
    let owned: [(&str, String, Option<&ObjectMeta>); 11] = [
        ("ServiceAccount", names.main().into(), service_account.as_ref().map(|o| &o.metadata)),
        ("ConfigMap", names.config(), config_map.as_ref().map(|o| &o.metadata)),
        ("Secret", names.internal(), internal_secret.as_ref().map(|o: &Secret| &o.metadata)),
        ("Service", names.main().into(), public_service.as_ref().map(|o| &o.metadata)),
        ("Service", names.internal(), internal_service.as_ref().map(|o| &o.metadata)),
        ("NetworkPolicy", names.main().into(), network_policy.as_ref().map(|o| &o.metadata)),
        ("PodDisruptionBudget", names.main().into(), disruption_budget.as_ref().map(|o| &o.metadata)),
        ("Deployment", names.main().into(), deployment.as_ref().map(|o| &o.metadata)),
        ("NetworkPolicy", names.maintenance(), maintenance_policy.as_ref().map(|o| &o.metadata)),
        ("CronJob", names.fsck(), fsck.as_ref().map(|o| &o.metadata)),
        ("CronJob", names.gc(), gc.as_ref().map(|o| &o.metadata)),
    ];
    let mut problems: Vec<_> = owned
        .into_iter()
        .filter_map(|(kind, child, meta)| {
            let meta = meta.filter(|meta| !names::is_controlled_by(meta, uid))?;
            Some(if is_predecessors(meta, name) { leaving(kind, &child, name) } else { taken(kind, &child, name) })
        })
        .collect();
    // The claim outlives its registry, so it has no owner; its labels say whose it is.
    let foreign_claim = volume_claim.as_ref().is_some_and(|claim| !is_our_claim(&claim.metadata, name));
    if foreign_claim {
        problems.push(taken("PersistentVolumeClaim", &names.data(), name));
    }
    problems
}

/// Whether a PersistentVolumeClaim was made for a registry of this name, be it an earlier one.
pub fn is_our_claim(claim: &ObjectMeta, registry: &str) -> bool {
    let ours = names::labels(registry);
    ours.iter().all(|(key, value)| claim.labels.as_ref().and_then(|l| l.get(key)) == Some(value))
}

/// Whether an object was owned by a deleted CargoRegistry of the same name and waits for Kubernetes to collect it.
fn is_predecessors(meta: &ObjectMeta, registry: &str) -> bool {
    let kind = <CargoRegistry as kube::Resource>::kind(&());
    meta.owner_references.iter().flatten().any(|o| o.controller == Some(true) && o.kind == kind && o.name == registry)
}

fn leaving(kind: &str, child: &str, registry: &str) -> Problem {
    let message = format!(
        "{kind} {child} of the deleted CargoRegistry {registry} is still there; waiting until Kubernetes has removed it"
    );
    Problem::new("WaitingForDeletion", message)
}

fn taken(kind: &str, child: &str, registry: &str) -> Problem {
    let message = format!(
        "{kind} {child} exists and does not belong to CargoRegistry {registry}; it is left alone. Rename or delete it, or give \
         the CargoRegistry another name"
    );
    Problem::new("NameTaken", message)
}

#[cfg(test)]
mod tests;
