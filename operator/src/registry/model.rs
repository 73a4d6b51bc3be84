//! What passes from phase to phase. No logic.

use std::marker::PhantomData;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::bucket::Credentials;

/// All that the spec points at and all that bears our names, as it was when the pass began.
#[derive(Clone, Default)]
pub struct Observed {
    /// `storage.s3.credentialsSecretRef`.
    pub credentials: Referenced<Credentials>,
    /// `storage.s3.caBundle`, in PEM.
    pub ca_bundle: Referenced<Vec<u8>>,
    /// `storage.s3.serviceAccountName`.
    pub service_account: Referenced<()>,
    /// Objects that bear the names of our children.
    pub live: Live,
}

/// Something that the spec may point at.
#[derive(Clone, Default)]
pub enum Referenced<T> {
    /// The spec points at nothing.
    #[default]
    NotAsked,
    /// It is there and can be used.
    Found {
        /// What it holds.
        value: T,
        /// Hex SHA-256 of what it holds, for the pod template.
        hash: String,
    },
    /// It is not there, or cannot be used.
    Unusable(Problem),
}

impl<T> Referenced<T> {
    /// What it holds, if it can be used.
    pub fn value(&self) -> Option<&T> {
        match self {
            Referenced::Found { value, .. } => Some(value),
            _ => None,
        }
    }

    /// Its hash, if it can be used.
    pub fn hash(&self) -> Option<&str> {
        match self {
            Referenced::Found { hash, .. } => Some(hash),
            _ => None,
        }
    }

    /// What is wrong with it, if anything is.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Referenced::Unusable(problem) => Some(problem),
            _ => None,
        }
    }
}

/// Something that only a person can mend. It is told by condition and waited for, not retried as a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The condition's reason.
    pub reason: &'static str,
    /// What, where and what to do. Holds no Secret's value.
    pub message: String,
}

impl Problem {
    /// A problem with its two parts.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Problem {
        Problem { reason, message: message.into() }
    }
}

/// What a list gave that a pass can do without: it then knows less, and does all the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed<T> {
    /// What is there.
    Found(Vec<T>),
    /// The API server does not let this account list it: the right that is missing, and what to do.
    Refused(String),
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Listed::Found(Vec::new())
    }
}

impl<T> Listed<T> {
    /// What is known to be there.
    pub fn found(&self) -> &[T] {
        match self {
            Listed::Found(found) => found,
            Listed::Refused(_) => &[],
        }
    }

    /// Why nothing is known, if that is so.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Listed::Found(_) => None,
            Listed::Refused(message) => Some(message),
        }
    }
}

/// Live objects under the names of our children; `None` where there is none.
#[derive(Clone, Default)]
pub struct Live {
    /// `NAME`
    pub service_account: Option<ServiceAccount>,
    /// `NAME-config`
    pub config_map: Option<ConfigMap>,
    /// `NAME-internal`
    pub internal_secret: Option<Secret>,
    /// `NAME-data`
    pub volume_claim: Option<PersistentVolumeClaim>,
    /// `NAME`
    pub public_service: Option<Service>,
    /// `NAME-internal`
    pub internal_service: Option<Service>,
    /// `NAME`
    pub network_policy: Option<NetworkPolicy>,
    /// `NAME`
    pub disruption_budget: Option<PodDisruptionBudget>,
    /// `NAME`
    pub deployment: Option<Deployment>,
    /// `NAME-maintenance`
    pub maintenance_policy: Option<NetworkPolicy>,
    /// `NAME-fsck`. These two are large, and passed around by value with the rest.
    pub fsck: Option<Box<CronJob>>,
    /// `NAME-gc`
    pub gc: Option<Box<CronJob>>,
}

/// Stage of [`Resources`]: built, not yet sent.
#[derive(Debug, Clone, Copy)]
pub enum Prepared {}
/// Stage of [`Resources`]: as the API server holds them after they were applied.
#[derive(Debug, Clone, Copy)]
pub enum Applied {}

/// Every child of a registry. Whoever applies them takes this apart without `..`, so that a new kind cannot be forgotten.
/// `None`: this registry has no such child, and one of ours that is there is deleted (a volume claim never is).
pub struct Resources<Stage> {
    /// Identity of the pods, without any rights. None when the spec names one.
    pub service_account: Option<ServiceAccount>,
    /// `registry.toml`.
    pub config_map: ConfigMap,
    /// Admin credential and certificate of the internal listener.
    pub internal_secret: Secret,
    /// The volume form's data.
    pub volume_claim: Option<PersistentVolumeClaim>,
    /// Where Cargo connects.
    pub public_service: Service,
    /// Where the operator and the replicas connect.
    pub internal_service: Service,
    /// Who may connect to which port.
    pub network_policy: NetworkPolicy,
    /// How many replicas a drain may take at once. None for a single replica, which it would pin to its node.
    pub disruption_budget: Option<PodDisruptionBudget>,
    /// The replicas.
    pub deployment: Deployment,
    /// That nobody connects to the pods of the two below. None on a volume, as those.
    pub maintenance_policy: Option<NetworkPolicy>,
    /// Checks the bucket.
    pub fsck: Option<Box<CronJob>>,
    /// Cleans it up.
    pub gc: Option<Box<CronJob>>,
    /// How far these objects have come.
    pub stage: PhantomData<Stage>,
}

/// What a running registry says of itself on `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The store honours conditional writes.
    Proven,
    /// The proof is under way.
    Proving,
    /// The store does not; the step that failed, and how.
    Refused(String),
    /// The registry cannot reach or use the store; why.
    Unreachable(String),
    /// No replica answered; why.
    Silent(String),
}

/// Why a pod does not run, in the kubelet's or the scheduler's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodTrouble {
    /// Name of the pod.
    pub pod: String,
    /// `ImagePullBackOff`, `CrashLoopBackOff`, `Unschedulable`, ... from a closed set, since conditions carry it.
    pub reason: &'static str,
    /// Their word and their sentence.
    pub message: String,
}
