//! What the last check of a store came to, as `StoreSound` tells it, and what it costs to know.

use http::Method;
use serde_json::{Value, json};
use supercargo_operator::crd::conditions::{DEGRADED, READY, STORE_SOUND};

use crate::registry::{DEPLOYMENT, FSCK, S3_SECRET, Scene, on_s3, s3_secret};

const JOB: &str = "/apis/batch/v1/namespaces/demo/jobs/company-fsck-7";
const OTHER: &str = "/apis/batch/v1/namespaces/demo/jobs/company-gc-7";
const FOUND: &str = "Container registry for pod demo/x failed with exit code 3 matching FailJob rule at index 0";

impl Scene {
    fn checked(&self, scheduled: &str, succeeded: &str) {
        self.api.edit(FSCK, |check| {
            check["status"] = json!({ "lastScheduleTime": scheduled, "lastSuccessfulTime": succeeded });
        });
    }

    /// How often Jobs were asked for by a pass.
    async fn jobs_asked_for(&self) -> usize {
        self.api.take_log();
        self.pass().await.unwrap();
        self.api.take_log().iter().filter(|sent| sent.path.ends_with("/jobs")).count()
    }
}

fn failed(owner: &Value, created: &str) -> Value {
    let owners =
        json!([{ "apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": owner, "controller": true }]);
    let condition = json!({ "type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": FOUND });
    json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "ownerReferences": owners, "creationTimestamp": created },
            "status": { "conditions": [condition] } })
}

#[tokio::test]
async fn a_check_that_found_problems_is_told_and_jobs_are_asked_for_only_then() {
    let (first, second, third) = ("2026-11-19T02:00:00Z", "2026-11-20T02:00:00Z", "2026-11-21T02:00:00Z");
    let scene = Scene::new(on_s3());
    scene.api.put(S3_SECRET, s3_secret());
    for _ in 0..2 {
        scene.pass().await.unwrap();
    }
    assert_eq!(scene.condition(STORE_SOUND).0, "Unknown/NotCheckedYet");
    scene.checked(first, second);
    assert_eq!((scene.jobs_asked_for().await, scene.condition(STORE_SOUND).0.as_str()), (0, "True/FsckClean"));

    scene.checked(third, second);
    let uid = scene.api.get(FSCK).unwrap()["metadata"]["uid"].clone();
    scene.api.put(JOB, failed(&uid, third));
    scene.api.put(OTHER, failed(&json!("another"), third));
    assert_eq!(scene.jobs_asked_for().await, 1);
    let (told, message) = scene.condition(STORE_SOUND);
    assert_eq!(told, "False/FsckFoundProblems");
    assert!(message.contains("`kubectl -n demo logs job/company-fsck-7`"), "{message}");
    assert!(scene.condition(DEGRADED).1.contains(&message), "{:?}", scene.condition(DEGRADED));
    scene.api.take_log();
    scene.pass().await.unwrap();
    assert!(scene.short_writes().is_empty(), "the same again is no news");

    scene.checked(third, "2026-11-21T09:00:00Z");
    assert_eq!((scene.jobs_asked_for().await, scene.condition(STORE_SOUND).0.as_str()), (0, "True/FsckClean"));
    assert!(!scene.condition(DEGRADED).1.contains("company-fsck-7"));
}

/// As with the image of a new version on the role of an older one.
#[tokio::test]
async fn a_right_to_list_that_is_missing_is_told_and_stops_nothing_else() {
    let (second, third) = ("2026-11-20T02:00:00Z", "2026-11-21T02:00:00Z");
    let scene = Scene::new(on_s3());
    scene.api.put(S3_SECRET, s3_secret());
    scene.pass().await.unwrap();
    scene.all_replicas_ready();
    scene.checked(second, second);
    scene.pass().await.unwrap();
    assert_eq!(scene.condition(STORE_SOUND).0, "True/FsckClean");

    for collection in ["/jobs", "/pods"] {
        scene.api.refuse(Method::GET, collection, 403);
    }
    scene.checked(third, second);
    scene.api.edit(DEPLOYMENT, |deployment| deployment["status"]["availableReplicas"] = json!(1));
    scene.pass().await.unwrap();
    let (told, message) = scene.condition(STORE_SOUND);
    assert_eq!(told, "Unknown/Forbidden");
    assert!(message.contains("list jobs.batch") && message.contains("upgrade the chart"), "{message}");
    let degraded = scene.condition(DEGRADED).1;
    assert!(degraded.contains("list jobs.batch") && degraded.contains("list pods"), "{degraded}");
    assert_eq!(scene.condition(READY), ("True/Serving".to_owned(), "1 of 2 replicas serve".to_owned()));
    scene.pass().await.unwrap();
    scene.api.take_log();
    scene.pass().await.unwrap();
    assert!(scene.short_writes().is_empty(), "the same again is no news");

    scene.api.allow_all();
    let uid = scene.api.get(FSCK).unwrap()["metadata"]["uid"].clone();
    scene.api.put(JOB, failed(&uid, third));
    scene.pass().await.unwrap();
    assert_eq!(scene.condition(STORE_SOUND).0, "False/FsckFoundProblems");
    assert!(!scene.condition(DEGRADED).1.contains("the right to list"), "{:?}", scene.condition(DEGRADED));
}
