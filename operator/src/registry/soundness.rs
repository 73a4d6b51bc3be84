//! What the last check of the store (`NAME-fsck`) came to. Pure.
//!
//! The CronJob's own status tells while all is well. Only when its last run did not succeed are its Jobs asked for, which say why not: the
//! check ends with exit status 3 when it has found something, and the Job's failure policy writes that into the Job's condition. A run that
//! somebody starts by hand counts when it succeeds. A Job that somebody deleted tells nothing, and then no older one speaks in its place.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::ResourceExt;

use crate::crd::conditions::{Finding, STORE_SOUND, Truth};
use crate::names;

/// The reason of a check that has found something.
pub const FOUND_PROBLEMS: &str = "FsckFoundProblems";
/// How the API server's Job controller tells the exit status by which a failure policy ended a Job.
const EXIT_STATUS_OF_PROBLEMS: &str = "failed with exit code 3 ";
/// On a Job that the schedule made: the time it was due, which is the CronJob's `lastScheduleTime` then (Kubernetes, KEP-4026).
const DUE: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// Whether the Jobs have to be looked at: the last run is over and did not succeed.
pub fn is_open(check: &CronJob) -> bool {
    let Some(status) = &check.status else { return false };
    let scheduled = status.last_schedule_time.as_ref().map(|at| at.0);
    let succeeded = status.last_successful_time.as_ref().map(|at| at.0);
    !runs(check) && scheduled.is_some_and(|scheduled| succeeded.is_none_or(|succeeded| succeeded < scheduled))
}

fn runs(check: &CronJob) -> bool {
    let active = check.status.as_ref().and_then(|status| status.active.as_ref());
    active.is_some_and(|active| !active.is_empty())
}

/// What there is to say; `None`: nothing new. `jobs`: those of the namespace with the labels of our maintenance, if [`is_open`].
pub fn finding(check: &CronJob, jobs: &[Job]) -> Option<Finding> {
    if is_open(check) {
        let say = |truth, reason, message: String| Some(Finding::new(STORE_SOUND, truth, reason, message));
        let last = last_finished(check, jobs)?;
        let logs = format!("`kubectl -n {} logs job/{}`", check.namespace().unwrap_or_default(), last.name_any());
        return match end(last)? {
            End::Complete(at) => Some(clean(at)),
            End::Failed(why) if why.contains(EXIT_STATUS_OF_PROBLEMS) => say(
                Truth::False,
                FOUND_PROBLEMS,
                format!("the last check of the store found problems; what, and what to do: {logs}"),
            ),
            End::Failed(why) => say(
                Truth::Unknown,
                "FsckFailed",
                format!("the last check of the store did not come to its end ({why}); see {logs}"),
            ),
        };
    }
    let succeeded = check.status.as_ref().and_then(|status| status.last_successful_time.as_ref());
    // While one runs, the one before counts, which may not be the one that succeeded last.
    succeeded.filter(|_| !runs(check)).map(|at| clean(at.0))
}

/// Whatever it found, it mended. In the same words before and after the CronJob's status knows of it: both times are that of the Job.
fn clean(at: Timestamp) -> Finding {
    let message = format!("the check that ended at {at} left nothing to mend");
    Finding::new(STORE_SOUND, Truth::True, "FsckClean", message)
}

enum End {
    /// When.
    Complete(Timestamp),
    /// In the words of the Job's controller.
    Failed(String),
}

/// The last of this CronJob's Jobs that is over, but for those from before its last run: they know nothing of it.
fn last_finished<'a>(check: &CronJob, jobs: &'a [Job]) -> Option<&'a Job> {
    let uid = check.uid().unwrap_or_default();
    let scheduled = check.status.as_ref()?.last_schedule_time.as_ref()?.0;
    let counts =
        |job: &&Job| names::is_controlled_by(&job.metadata, &uid) && due(job) >= Some(scheduled) && end(job).is_some();
    jobs.iter().filter(counts).max_by_key(|job| job.creation_timestamp().map(|at| at.0))
}

/// When a Job of the schedule was due: who dates its creation has another clock than the schedule. One made by hand was due when it was made.
fn due(job: &Job) -> Option<Timestamp> {
    let of_schedule = job.annotations().get(DUE).and_then(|at| at.parse().ok());
    of_schedule.or_else(|| job.creation_timestamp().map(|at| at.0))
}

fn end(job: &Job) -> Option<End> {
    let status = job.status.as_ref()?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    conditions.iter().filter(|condition| condition.status == "True").find_map(|condition| {
        match condition.type_.as_str() {
            "Complete" => status.completion_time.as_ref().map(|at| End::Complete(at.0)),
            "Failed" => {
                let parts = [condition.reason.as_deref(), condition.message.as_deref()];
                Some(End::Failed(parts.into_iter().flatten().collect::<Vec<_>>().join(": ")))
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(status: Value) -> CronJob {
        let metadata = json!({ "name": "company-fsck", "namespace": "demo", "uid": "u" });
        serde_json::from_value(json!({ "metadata": metadata, "status": status })).expect("a CronJob")
    }

    fn job(name: &str, owner: &str, created: &str, condition: Value) -> Job {
        let owners =
            json!([{ "apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": owner, "controller": true }]);
        let metadata = json!({ "name": name, "ownerReferences": owners, "creationTimestamp": created });
        let completed = (condition["type"] == "Complete").then_some("2026-11-21T02:07:00Z");
        let status = json!({ "conditions": [condition], "completionTime": completed });
        serde_json::from_value(json!({ "metadata": metadata, "status": status })).expect("a Job")
    }

    fn failed(message: &str) -> Value {
        json!({ "type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": message })
    }

    const FOUND: &str = "Container registry for pod demo/x failed with exit code 3 matching FailJob rule at index 0";
    const OTHER: &str = "Container registry for pod demo/x failed with exit code 2 matching FailJob rule at index 0";

    fn told(check: &CronJob, jobs: &[Job]) -> Option<String> {
        finding(check, jobs).map(|finding| format!("{}/{}", finding.truth.as_str(), finding.reason))
    }

    #[test]
    fn while_all_is_well_nobody_asks_for_jobs() {
        let (first, second) = ("2026-11-20T02:00:00Z", "2026-11-21T02:00:00Z");
        let running = json!([{ "name": "x" }]);
        for (status, expected) in [
            (Value::Null, None),
            (json!({ "lastScheduleTime": first, "active": running }), None),
            (json!({ "lastScheduleTime": second, "lastSuccessfulTime": first, "active": running }), None),
            (json!({ "lastScheduleTime": first, "lastSuccessfulTime": second }), Some("True/FsckClean")),
        ] {
            let check = check(status.clone());
            assert!(!is_open(&check), "{status}");
            assert_eq!(told(&check, &[]).as_deref(), expected, "{status}");
        }
    }

    #[test]
    fn the_last_job_of_this_very_cron_job_tells_why_it_failed() {
        let check =
            check(json!({ "lastScheduleTime": "2026-11-21T02:00:00Z", "lastSuccessfulTime": "2026-11-20T02:01:00Z" }));
        assert!(is_open(&check));
        let before = job("company-fsck-1", "u", "2026-11-19T02:00:00Z", failed(OTHER));
        let others = job("company-gc-9", "g", "2026-11-21T03:00:00Z", failed(OTHER));
        let last = |condition| job("company-fsck-2", "u", "2026-11-21T02:00:00Z", condition);
        for (condition, expected) in [
            (failed(FOUND), Some("False/FsckFoundProblems")),
            (failed(OTHER), Some("Unknown/FsckFailed")),
            (json!({ "type": "Failed", "status": "True", "reason": "DeadlineExceeded" }), Some("Unknown/FsckFailed")),
            (json!({ "type": "Complete", "status": "True" }), Some("True/FsckClean")),
        ] {
            let jobs = [others.clone(), last(condition.clone()), before.clone()];
            assert_eq!(told(&check, &jobs).as_deref(), expected, "{condition}");
        }
        let message = finding(&check, &[last(failed(FOUND))]).expect("a finding").message;
        assert!(message.contains("`kubectl -n demo logs job/company-fsck-2`"), "{message}");
        assert_eq!(told(&check, &[others]), None, "nobody knows: what was said before holds");
    }

    /// The CronJob's status hears of a Job's success a moment after the Job is done.
    #[test]
    fn a_success_is_told_in_the_same_words_before_and_after_the_cron_job_knows() {
        let (before, last) = ("2026-11-20T02:01:00Z", "2026-11-21T02:00:00Z");
        let done = job("company-fsck-2", "u", last, json!({ "type": "Complete", "status": "True" }));
        let completed = done.status.as_ref().and_then(|status| status.completion_time.clone()).expect("it is complete");
        let first = finding(&check(json!({ "lastScheduleTime": last, "lastSuccessfulTime": before })), &[done]);
        let later = finding(&check(json!({ "lastScheduleTime": last, "lastSuccessfulTime": completed })), &[]);
        assert_eq!(first, later);
        let message = later.expect("a finding").message;
        assert_eq!(message, "the check that ended at 2026-11-21T02:07:00Z left nothing to mend");
    }

    /// A Job that was made by the schedule, at this time by the clock of the API server.
    fn of_schedule(due: &str, created: &str, condition: Value) -> Job {
        let mut job = job("company-fsck-2", "u", created, condition);
        job.annotations_mut().insert(DUE.to_owned(), due.to_owned());
        job
    }

    #[test]
    fn an_older_job_does_not_speak_for_one_that_was_deleted() {
        let (before, last) = ("2026-11-20T02:00:00Z", "2026-11-21T02:00:00Z");
        let check = check(json!({ "lastScheduleTime": last, "lastSuccessfulTime": "2026-11-20T02:01:00Z" }));
        let clean = || json!({ "type": "Complete", "status": "True" });
        let older = of_schedule(before, "2026-11-20T02:00:00Z", clean());
        let by_hand = |created| job("by-hand", "u", created, clean());
        for (jobs, expected) in [
            (vec![older.clone()], None),
            (vec![older.clone(), by_hand("2026-11-21T01:59:59Z")], None),
            (vec![older.clone(), by_hand(last)], Some("True/FsckClean")),
            (vec![by_hand("2026-11-21T09:00:00Z"), of_schedule(last, last, failed(FOUND))], Some("True/FsckClean")),
            // The clock of the API server is a second behind that of the schedule, or the run began late.
            (
                vec![older.clone(), of_schedule(last, "2026-11-21T01:59:59Z", failed(FOUND))],
                Some("False/FsckFoundProblems"),
            ),
            (vec![older, of_schedule(last, "2026-11-21T02:50:00Z", failed(FOUND))], Some("False/FsckFoundProblems")),
            (vec![of_schedule(before, "2026-11-21T02:00:01Z", failed(FOUND))], None),
        ] {
            assert_eq!(told(&check, &jobs).as_deref(), expected, "{jobs:#?}");
        }
    }
}
