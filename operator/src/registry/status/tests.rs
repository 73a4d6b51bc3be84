//! What a user reads in each situation.

use std::marker::PhantomData;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::crd::bucket::{BucketOrigin, BucketStatus};
use crate::registry::build::build;
use crate::registry::fixtures::{config, now, on_s3, on_volume, registry, valid};

/// `demo/company` on S3, applied, with a Deployment in this state.
struct Situation {
    registry: CargoRegistry,
    deployment: serde_json::Value,
    bucket: Option<bucket::Outcome>,
    verdict: Option<Verdict>,
    troubles: Listed<PodTrouble>,
    fsck: Option<CronJob>,
    jobs: Listed<Job>,
}

fn two_of_two() -> serde_json::Value {
    json!({ "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2 })
}

fn none_of_two() -> serde_json::Value {
    json!({ "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2 })
}

fn bucket(truth: Truth, reason: &'static str, message: &str) -> bucket::Outcome {
    bucket::Outcome {
        status: None,
        findings: vec![Finding::new(findings::BUCKET_READY, truth, reason, message)],
        usable: truth == Truth::True,
        changes: Vec::new(),
        next_check: Duration::from_secs(300),
    }
}

impl Situation {
    fn well() -> Situation {
        Situation {
            registry: registry(on_s3()),
            deployment: two_of_two(),
            bucket: Some(bucket(Truth::True, "Adopted", "")),
            verdict: Some(Verdict::Proven),
            troubles: Listed::default(),
            fsck: None,
            jobs: Listed::default(),
        }
    }

    fn applied(&self) -> Resources<Applied> {
        let prepared = build(&valid(&self.registry));
        let mut deployment = prepared.deployment;
        deployment.metadata.generation = Some(1);
        deployment.status = serde_json::from_value(self.deployment.clone()).unwrap();
        Resources {
            deployment,
            service_account: prepared.service_account,
            config_map: prepared.config_map,
            internal_secret: prepared.internal_secret,
            volume_claim: prepared.volume_claim,
            public_service: prepared.public_service,
            internal_service: prepared.internal_service,
            network_policy: prepared.network_policy,
            disruption_budget: prepared.disruption_budget,
            maintenance_policy: prepared.maintenance_policy,
            fsck: prepared.fsck,
            gc: prepared.gc,
            stage: PhantomData,
        }
    }

    fn status_with(&self, progress: Progress<'_>) -> CargoRegistryStatus {
        let pass = Pass {
            registry: &self.registry,
            config: &config(),
            progress,
            bucket: self.bucket.as_ref(),
            verdict: self.verdict.as_ref(),
            troubles: &self.troubles,
            fsck: self.fsck.as_ref(),
            jobs: &self.jobs,
        };
        status_of(&pass, now())
    }

    fn status(&self) -> CargoRegistryStatus {
        self.status_with(Progress::Applied(&self.applied()))
    }

    /// `Ready Progressing Degraded` as `Status/Reason`, and the message of Ready.
    fn told(&self) -> (String, String) {
        summary(&self.status())
    }
}

fn summary(status: &CargoRegistryStatus) -> (String, String) {
    let of = |type_| {
        let c = conditions::get(&status.conditions, type_).unwrap_or_else(|| panic!("no {type_}"));
        format!("{}/{}", c.status, c.reason)
    };
    let message = conditions::get(&status.conditions, READY).unwrap().message.clone();
    (format!("{} {} {}", of(READY), of(PROGRESSING), of(DEGRADED)), message)
}

#[test]
fn all_is_well() {
    let situation = Situation::well();
    assert_eq!(situation.told().0, "True/Serving False/RolledOut False/AsExpected");
    let status = situation.status();
    assert_eq!(status.index_url.as_deref(), Some("sparse+http://company.demo.svc/index/"));
    assert_eq!((status.replicas, status.ready_replicas, status.desired_replicas), (Some(2), Some(2), Some(2)));
    assert_eq!(status.observed_generation, Some(3));
    assert!(status.conditions.iter().all(|c| c.observed_generation == Some(3)));
    assert!(conditions::is_true(&status.conditions, CONDITIONAL_WRITES));
}

#[test]
fn the_same_pass_again_changes_nothing() {
    let mut situation = Situation::well();
    let first = situation.status();
    situation.registry.status = Some(first.clone());
    assert_eq!(situation.status(), first);
}

#[test]
fn replicas_that_start_are_progress_not_trouble() {
    let situation = Situation {
        deployment: none_of_two(),
        verdict: Some(Verdict::Silent("no connection".into())),
        ..Situation::well()
    };
    assert_eq!(situation.told().0, "False/Starting True/RollingOut False/AsExpected");
    let unseen = Situation { deployment: json!({}), verdict: None, ..Situation::well() };
    assert_eq!(unseen.told().0, "False/Starting True/RollingOut False/AsExpected");
}

#[test]
fn one_replica_serves_while_the_other_is_replaced() {
    let deployment = json!({ "observedGeneration": 1, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 1 });
    assert_eq!(Situation { deployment, ..Situation::well() }.told().0, "True/Serving True/RollingOut False/AsExpected");
}

#[test]
fn the_cause_is_named_when_nothing_serves() {
    let because = |bucket, verdict, troubles| {
        let troubles = Listed::Found(troubles);
        Situation { deployment: none_of_two(), bucket: Some(bucket), verdict, troubles, ..Situation::well() }.told()
    };
    let fine = || bucket(Truth::True, "Adopted", "");
    let (summary, message) = because(
        bucket(Truth::False, "AccessDenied", "Secret \"s3\": S3 answered 403"),
        Some(Verdict::Unreachable("403".into())),
        Vec::new(),
    );
    assert_eq!(summary, "False/AccessDenied True/RollingOut True/AccessDenied");
    assert_eq!(message, "Secret \"s3\": S3 answered 403; replicas cannot use their store: 403");
    let refused = Some(Verdict::Refused("race: two writers won".into()));
    assert!(because(fine(), refused, Vec::new()).0.starts_with("False/StoreRefused"));
    let pull = PodTrouble {
        pod: "company-1".into(),
        reason: "ImagePullBackOff",
        message: "ImagePullBackOff: no such image".into(),
    };
    let (summary, message) = because(fine(), None, vec![pull]);
    assert_eq!(summary, "False/ImagePullBackOff True/RollingOut True/ImagePullBackOff");
    assert_eq!(message, "pod company-1: ImagePullBackOff: no such image");
}

#[test]
fn a_missing_right_is_told_and_is_not_why_nothing_serves() {
    let troubles = Listed::Refused("no right to list pods".to_owned());
    let situation = Situation { deployment: none_of_two(), troubles, ..Situation::well() };
    assert_eq!(situation.told().0, "False/Starting True/RollingOut True/Forbidden");
    assert_eq!(conditions::get(&situation.status().conditions, DEGRADED).unwrap().message, "no right to list pods");
}

#[test]
fn trouble_with_the_bucket_does_not_hide_that_crates_are_served() {
    let situation = Situation { bucket: Some(bucket(Truth::False, "Unreachable", "no route")), ..Situation::well() };
    assert_eq!(situation.told().0, "True/Serving False/RolledOut True/Unreachable");
}

#[test]
fn what_cannot_keep_a_replica_from_serving_is_not_why_it_does_not() {
    let mut outcome = bucket(Truth::True, "Adopted", "");
    outcome.findings.push(Finding::new(
        findings::BUCKET_VERSIONED,
        Truth::False,
        "Suspended",
        "versioning is suspended",
    ));
    let situation = Situation { bucket: Some(outcome), deployment: none_of_two(), verdict: None, ..Situation::well() };
    assert_eq!(situation.told().0, "False/Starting True/RollingOut True/Suspended");
}

#[test]
fn a_rollout_that_does_not_end_is_told() {
    let deployment = json!({ "observedGeneration": 1, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2,
        "conditions": [{ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded" }] });
    assert_eq!(
        Situation { deployment, ..Situation::well() }.told().0,
        "True/Serving False/RolloutStuck True/RolloutStuck"
    );
}

#[test]
fn a_refusal_is_told_and_running_pods_still_count() {
    let situation = Situation { bucket: None, ..Situation::well() };
    let problems = [Problem::new("SecretNotFound", "Secret s3 does not exist in namespace demo")];
    let nothing = situation.status_with(Progress::Refused(&problems, &Live::default()));
    let (told, message) = summary(&nothing);
    assert_eq!(told, "False/SecretNotFound False/SecretNotFound True/SecretNotFound");
    assert_eq!(message, problems[0].message);
    assert_eq!(conditions::get(&nothing.conditions, findings::BUCKET_READY).unwrap().reason, "SecretNotFound");
    let live = Live { deployment: Some(situation.applied().deployment), ..Live::default() };
    let serving = situation.status_with(Progress::Refused(&problems, &live));
    assert_eq!(summary(&serving).0, "True/Serving False/SecretNotFound True/SecretNotFound");
    let mut foreign = situation.applied().deployment;
    foreign.metadata.owner_references = None;
    let live = Live { deployment: Some(foreign), ..Live::default() };
    let not_ours = situation.status_with(Progress::Refused(&problems, &live));
    assert!(summary(&not_ours).0.starts_with("False/"), "a foreign Deployment says nothing about us");
}

#[test]
fn paused_says_so_and_reports_on() {
    let situation = Situation::well();
    let live = Live { deployment: Some(situation.applied().deployment), ..Live::default() };
    assert_eq!(
        summary(&situation.status_with(Progress::Paused(&live))).0,
        "True/Serving False/Paused False/AsExpected"
    );
}

#[test]
fn what_was_proven_stays_until_something_else_is_found() {
    let mut situation = Situation::well();
    situation.registry.status = Some(situation.status());
    for (verdict, expected) in [
        (Some(Verdict::Silent("timeout".into())), "True"),
        (None, "True"),
        (Some(Verdict::Proving), "True"),
        (Some(Verdict::Refused("race".into())), "False"),
    ] {
        situation.verdict = verdict;
        let status = situation.status();
        assert_eq!(conditions::get(&status.conditions, CONDITIONAL_WRITES).unwrap().status, expected);
    }
}

#[test]
fn a_volume_has_no_conditions_of_a_bucket() {
    let mut situation = Situation { registry: registry(on_volume()), bucket: None, ..Situation::well() };
    situation.deployment =
        json!({ "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1 });
    let types: Vec<_> = situation.status().conditions.into_iter().map(|c| c.type_).collect();
    assert_eq!(types, [DEGRADED, PROGRESSING, READY]);
}

#[test]
fn what_the_bucket_is_stays_on_record_when_it_cannot_be_looked_at() {
    let mut situation = Situation::well();
    let record =
        BucketStatus { name: "crates".into(), endpoint: None, region: "r".into(), origin: BucketOrigin::Created };
    situation.registry.status =
        Some(CargoRegistryStatus { bucket: Some(record.clone()), ..CargoRegistryStatus::default() });
    assert_eq!(situation.status().bucket, Some(record));
}

#[test]
fn nothing_serves_at_zero_replicas_and_that_is_no_trouble() {
    let mut spec = on_s3();
    spec["replicas"] = json!(0);
    let situation = Situation {
        registry: registry(spec),
        deployment: json!({ "observedGeneration": 1 }),
        verdict: None,
        ..Situation::well()
    };
    assert_eq!(situation.told().0, "False/ScaledToZero False/RolledOut False/AsExpected");
}

#[test]
fn a_check_that_found_problems_needs_a_person_until_one_finds_none() {
    let sound = |status: &CargoRegistryStatus| {
        let condition = conditions::get(&status.conditions, STORE_SOUND).expect("a condition");
        format!("{}/{}", condition.status, condition.reason)
    };
    let check = |scheduled: &str, succeeded: &str, active: serde_json::Value| {
        let status = json!({ "lastScheduleTime": scheduled, "lastSuccessfulTime": succeeded, "active": active });
        let metadata = json!({ "name": "company-fsck", "namespace": "demo", "uid": "c" });
        Some(serde_json::from_value(json!({ "metadata": metadata, "status": status })).unwrap())
    };
    let (first, second, third) = ("2026-11-19T02:00:00Z", "2026-11-20T02:00:00Z", "2026-11-21T02:00:00Z");
    let mut situation = Situation::well();
    assert_eq!(sound(&situation.status()), "Unknown/NotCheckedYet");
    situation.fsck = check(first, second, json!([]));
    assert_eq!(sound(&situation.status()), "True/FsckClean");

    situation.fsck = check(third, second, json!([]));
    let owners = json!([{ "apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": "c", "controller": true }]);
    let message = "Container registry for pod demo/x failed with exit code 3 matching FailJob rule at index 0";
    let failed = json!([{ "type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": message }]);
    let metadata = json!({ "name": "company-fsck-7", "ownerReferences": owners, "creationTimestamp": third });
    let job = json!({ "metadata": metadata, "status": { "conditions": failed } });
    situation.jobs = Listed::Found(vec![serde_json::from_value(job).unwrap()]);
    let status = situation.status();
    assert_eq!(sound(&status), "False/FsckFoundProblems");
    assert_eq!(summary(&status).0, "True/Serving False/RolledOut True/FsckFoundProblems", "crates are served");

    // The next check runs, or its Jobs are gone.
    situation.registry.status = Some(status);
    situation.jobs = Listed::default();
    for active in [json!([{ "name": "company-fsck-8" }]), json!([])] {
        situation.fsck = check(third, second, active);
        let status = situation.status();
        assert_eq!(sound(&status), "False/FsckFoundProblems");
        assert!(summary(&status).0.ends_with("True/FsckFoundProblems"));
    }
    // Nor may the operator see them: what was found is still told, and so is that.
    situation.jobs = Listed::Refused("no right".to_owned());
    let status = situation.status();
    assert_eq!(sound(&status), "False/FsckFoundProblems");
    assert!(conditions::get(&status.conditions, DEGRADED).unwrap().message.ends_with("; no right"));
    situation.jobs = Listed::default();
    situation.fsck = check(second, third, json!([]));
    let status = situation.status();
    assert_eq!((sound(&status), summary(&status).0.ends_with("False/AsExpected")), ("True/FsckClean".to_owned(), true));

    let volume = Situation { registry: registry(on_volume()), bucket: None, verdict: None, ..Situation::well() };
    assert!(conditions::get(&volume.status().conditions, STORE_SOUND).is_none());
}
