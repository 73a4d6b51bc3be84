//! A bucket that is in use, and another `storage.s3.endpoint`.

use super::*;

#[tokio::test]
async fn another_endpoint_without_the_bucket_does_not_get_an_empty_one() {
    for policy in [CreationPolicy::AdoptOrCreate, CreationPolicy::Create, CreationPolicy::Adopt] {
        let (old, new) = (FakeS3::start(Kind::Full).await, FakeS3::start(Kind::Full).await);
        let mut registry = Registry::new(&old, BucketSpec::default());
        assert!(registry.settle(0).await.usable);
        registry.spec.creation_policy = policy;
        registry.target = target(&new.endpoint);
        for restarted in [false, true] {
            if restarted {
                registry.buckets = Buckets::default();
            }
            let outcome = registry.settle(1000).await;
            assert_eq!(
                (told(&outcome, "BucketReady").as_str(), outcome.usable),
                ("False/Vanished", false),
                "{policy:?}"
            );
            let text = message(&outcome, "BucketReady");
            for part in [&old.endpoint, &new.endpoint, "404 NoSuchBucket", "set storage.s3.endpoint back"] {
                assert!(text.contains(part), "{part} not in {text}");
            }
            assert_eq!(writes(&new.take_log()), Vec::<&str>::new(), "{policy:?}");
            assert_eq!(registry.status.as_ref().and_then(|s| s.endpoint.as_ref()), Some(&old.endpoint));
        }
        registry.target = target(&old.endpoint);
        assert_eq!(told(&registry.settle(2000).await, "BucketReady"), "True/Created", "back where it was");
    }
}

#[tokio::test]
async fn a_bucket_that_is_there_under_another_endpoint_keeps_its_origin() {
    let (old, new) = (FakeS3::start(Kind::Full).await, FakeS3::start(Kind::Full).await);
    let mut registry =
        Registry::new(&old, BucketSpec { creation_policy: CreationPolicy::Create, ..BucketSpec::default() });
    assert!(registry.settle(0).await.usable);
    new.make_bucket("crates");
    new.content(true, false, false);
    registry.target = target(&new.endpoint);
    let outcome = registry.settle(1000).await;
    assert_eq!(told(&outcome, "BucketReady"), "True/Created", "{}", message(&outcome, "BucketReady"));
    let status = registry.status.expect("a status");
    assert_eq!((status.endpoint, status.origin), (Some(new.endpoint.clone()), BucketOrigin::Created));
}

#[tokio::test]
async fn another_bucket_is_another_bucket() {
    let fake = FakeS3::start(Kind::Full).await;
    let mut registry = Registry::new(&fake, BucketSpec::default());
    assert!(registry.settle(0).await.usable);
    registry.target.bucket = "more-crates".into();
    assert!(registry.settle(1000).await.usable && fake.has_bucket("more-crates"));
}
