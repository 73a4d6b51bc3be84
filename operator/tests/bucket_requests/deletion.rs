//! What becomes of the bucket when the CargoRegistry goes.

use super::*;
use supercargo_operator::bucket::release::{Released, release};
use supercargo_operator::crd::bucket::DeletionPolicy;

fn recorded(fake: &FakeS3, origin: BucketOrigin) -> Option<BucketStatus> {
    let target = target(&fake.endpoint);
    Some(BucketStatus { name: target.bucket, endpoint: target.endpoint, region: target.region, origin })
}

async fn released(fake: &FakeS3, policy: DeletionPolicy, origin: Option<BucketOrigin>, second: i64) -> Released {
    let recorded = origin.and_then(|origin| recorded(fake, origin));
    release(policy, recorded.as_ref(), &target(&fake.endpoint), at(0), at(second)).await
}

#[tokio::test]
async fn what_is_retained_adopted_or_unknown_is_not_even_looked_at() {
    let fake = FakeS3::start(Kind::Full).await;
    fake.make_bucket("crates");
    for (policy, origin) in [
        (DeletionPolicy::Retain, Some(BucketOrigin::Created)),
        (DeletionPolicy::Delete, Some(BucketOrigin::Adopted)),
        (DeletionPolicy::Delete, Some(BucketOrigin::Creating)),
        (DeletionPolicy::Delete, None),
    ] {
        let kept = released(&fake, policy, origin, 0).await;
        assert!(matches!(kept, Released::Kept(_)), "{kept:?}");
    }
    assert_eq!(fake.take_log(), Vec::<String>::new());
}

#[tokio::test]
async fn an_empty_bucket_of_ours_goes() {
    let fake = FakeS3::start(Kind::Full).await;
    fake.make_bucket("crates");
    let gone = released(&fake, DeletionPolicy::Delete, Some(BucketOrigin::Created), 0).await;
    assert!(matches!(gone, Released::Deleted(_)), "{gone:?}");
    assert_eq!(fake.take_log(), ["GET /crates", "GET /crates?versions", "GET /crates?uploads", "DELETE /crates"]);
    let again = released(&fake, DeletionPolicy::Delete, Some(BucketOrigin::Created), 0).await;
    assert!(matches!(again, Released::Deleted(_)), "twice is fine: {again:?}");
}

#[tokio::test]
async fn objects_versions_and_uploads_each_keep_it() {
    for (objects, versions, uploads, word) in [
        (true, false, false, "objects"),
        (false, true, false, "old versions"),
        (false, false, true, "uploads in progress"),
    ] {
        let fake = FakeS3::start(Kind::Full).await;
        fake.make_bucket("crates");
        fake.content(objects, versions, uploads);
        let kept = released(&fake, DeletionPolicy::Delete, Some(BucketOrigin::Created), 0).await;
        assert!(matches!(&kept, Released::Kept(why) if why.contains(word)), "{kept:?}");
        let log = fake.take_log();
        assert!(!log.iter().any(|line| line.starts_with("DELETE")), "{log:?}");
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_holds_deletion_up_for_minutes_only() {
    let fake = FakeS3::start(Kind::Full).await;
    fake.make_bucket("crates");
    fake.refuse(Some((503, "SlowDown")));
    let later = released(&fake, DeletionPolicy::Delete, Some(BucketOrigin::Created), 10).await;
    assert!(matches!(later, Released::Later(_)), "{later:?}");
    let kept = released(&fake, DeletionPolicy::Delete, Some(BucketOrigin::Created), 400).await;
    assert!(matches!(kept, Released::Kept(_)), "{kept:?}");
    assert!(fake.has_bucket("crates"));
}
