//! Who made the bucket is known whatever happens between the requests: a cache that lags, a crash, an edit meanwhile.

use std::sync::Arc;

use serde_json::json;
use supercargo_operator::controller::Reconcile;
use supercargo_operator::crd::bucket::BucketOrigin;
use supercargo_operator::crd::registry::CargoRegistry;

use crate::fake_s3::{FakeS3, Kind};
use crate::registry::{DEPLOYMENT, REGISTRY, S3_SECRET, Scene, nobody_answers, s3_secret};

fn scene(s3: &FakeS3, creation_policy: &str) -> Scene {
    let scene = Scene::new(json!({
        "storage": { "s3": { "bucket": "crates", "prefix": "team", "endpoint": s3.endpoint, "forcePathStyle": true,
                             "credentialsSecretRef": { "name": "s3" } } },
        "bucket": { "creationPolicy": creation_policy },
    }));
    scene.api.put(S3_SECRET, s3_secret());
    scene
}

fn origin(scene: &Scene) -> Option<BucketOrigin> {
    scene.registry().status.and_then(|status| status.bucket).map(|bucket| bucket.origin)
}

/// A pass over the object as a cache that lags still shows it.
async fn pass_over(scene: &Scene, stale: &CargoRegistry) -> Result<(), &'static str> {
    let pass = scene.registries.reconcile(Arc::new(stale.clone()), Arc::clone(&scene.context));
    pass.await.map(drop).map_err(|error| error.label())
}

#[tokio::test]
async fn a_pass_over_a_stale_object_takes_nothing_from_the_record() {
    for policy in ["AdoptOrCreate", "Create"] {
        let s3 = FakeS3::start(Kind::Full).await;
        let mut scene = scene(&s3, policy);
        let never_visited = scene.registry();
        scene.pass().await.unwrap();
        assert_eq!(origin(&scene), Some(BucketOrigin::Created));
        s3.content(true, false, false);

        assert_eq!(pass_over(&scene, &never_visited).await, Err("conflict"), "{policy}");
        assert_eq!(origin(&scene), Some(BucketOrigin::Created), "{policy}");
        scene.registries = nobody_answers();
        assert_eq!(pass_over(&scene, &never_visited).await, Err("conflict"), "{policy}, after a restart");
        assert_eq!(origin(&scene), Some(BucketOrigin::Created), "{policy}, after a restart");
        scene.pass().await.unwrap();
        assert_eq!(scene.condition("BucketReady").0, "True/Created", "{policy}");
    }
}

#[tokio::test]
async fn a_failure_that_is_told_late_takes_nothing_from_the_record() {
    let s3 = FakeS3::start(Kind::Full).await;
    let scene = scene(&s3, "Create");
    let never_visited = scene.registry();
    scene.api.refuse(http::Method::PATCH, "/deployments/company", 403);
    let error = scene.pass().await.unwrap_err();
    scene.registries.failed(Arc::new(never_visited), &error, Arc::clone(&scene.context)).await;
    assert_eq!(scene.condition("Degraded").0, "True/Forbidden");
    assert_eq!(origin(&scene), Some(BucketOrigin::Created));
}

#[tokio::test]
async fn a_crash_right_after_the_bucket_was_made_leaves_a_bucket_of_ours() {
    for policy in ["AdoptOrCreate", "Create"] {
        let s3 = FakeS3::start(Kind::Full).await;
        let mut scene = scene(&s3, policy);
        scene.api.refuse_word("\"Created\"");
        scene.pass().await.unwrap_err();
        assert!(s3.has_bucket("crates"));
        assert_eq!(origin(&scene), Some(BucketOrigin::Creating));
        assert!(scene.api.get(DEPLOYMENT).is_none(), "{policy}: nobody may fill a bucket whose maker is not on record");

        scene.api.allow_all();
        scene.registries = nobody_answers();
        scene.pass().await.unwrap();
        assert_eq!(origin(&scene), Some(BucketOrigin::Created), "{policy}");
        assert!(scene.api.get(DEPLOYMENT).is_some());
    }
}

#[tokio::test]
async fn an_edit_while_the_bucket_is_made_does_not_make_it_somebody_elses() {
    let s3 = FakeS3::start(Kind::Full).await;
    let scene = scene(&s3, "Create");
    scene.api.refuse_word("\"Created\"");
    scene.pass().await.unwrap_err();
    scene.api.allow_all();
    scene.api.edit(REGISTRY, |registry| registry["spec"]["bucket"]["versioning"] = json!({ "management": "Observe" }));
    // Replicas of an earlier try, say, have found the bucket meanwhile.
    s3.content(true, false, false);
    scene.pass().await.unwrap();
    assert_eq!(origin(&scene), Some(BucketOrigin::Created), "this process has made it and knows");
}
