//! `spec.maintenance`: when the store is checked, and when what nothing names is deleted.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Jobs over the whole bucket, each a CronJob of its own. Only with `storage.s3`: a volume has one process, which holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceSpec {
    /// `NAME-fsck`: checks that every record is sound and every version's file is there. A Job that fails with exit status 3 has found
    /// something that it could not mend; its log says what, and what to do. The condition `StoreSound` is then `False`, and names that Job.
    #[serde(default)]
    pub fsck: FsckSpec,
    /// `NAME-gc`: deletes the files of publishes that died, once they are two days old.
    #[serde(default)]
    pub gc: GcSpec,
}

/// The check of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FsckSpec {
    /// When, as a cron expression in UTC. Left out: every night, at a minute that follows from namespace and name, so that not all registries
    /// are checked at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|[^ ]+( [^ ]+){4})$')")
        .message("a schedule has five fields, such as `30 2 * * 6`, or is @hourly, @daily, @weekly, @monthly or @yearly"))]
    pub schedule: Option<String>,
    /// Read every file and compare its SHA-256. Costs as much traffic as downloading everything.
    #[serde(default)]
    pub deep: bool,
    /// Mend what can be mended without loss: marks of dead writers, missing entries of the audit log, and, in a bucket with versioning, objects that
    /// were damaged or deleted past the registry.
    #[serde(default = "yes")]
    pub repair: bool,
    /// Do not run it. The CronJob stays, so that one run can be made by hand: `kubectl create job --from=cronjob/NAME-fsck`.
    #[serde(default)]
    pub suspend: bool,
}

impl Default for FsckSpec {
    fn default() -> Self {
        Self { schedule: None, deep: false, repair: true, suspend: false }
    }
}

/// The garbage collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GcSpec {
    /// When, as a cron expression in UTC. Left out: every night, at a minute that follows from namespace and name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|[^ ]+( [^ ]+){4})$')")
        .message("a schedule has five fields, such as `30 2 * * 6`, or is @hourly, @daily, @weekly, @monthly or @yearly"))]
    pub schedule: Option<String>,
    /// Only say in the log what would be deleted. False, because a schedule that never deletes is of no use, and one run alone deletes nothing:
    /// it leaves a plan, which the next one follows where it still holds.
    #[serde(default)]
    pub dry_run: bool,
    /// Do not run it. The CronJob stays, so that one run can be made by hand.
    #[serde(default)]
    pub suspend: bool,
}

fn yes() -> bool {
    true
}
