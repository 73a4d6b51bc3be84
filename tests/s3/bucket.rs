//! The operator's bucket configuration on real S3 servers: what each of them makes of the same spec, and what a user is told.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use supercargo_operator::{
    bucket::{
        Buckets, Credentials, Outcome, Request, Target,
        release::{Released, release},
    },
    crd::bucket::{BucketOrigin, BucketSpec, BucketStatus, DeletionPolicy, Management},
};
use supercargo_tests::{
    s3,
    s3_host::{ACCESS_KEY, HostServer, SECRET_KEY},
};

const BUCKET: &str = "registry";

fn target(server: &HostServer, access_key: &str, secret_key: &str) -> Result<Target> {
    let data: BTreeMap<_, _> = [("AWS_ACCESS_KEY_ID", access_key), ("AWS_SECRET_ACCESS_KEY", secret_key)]
        .map(|(key, value)| (key.to_owned(), ByteString(value.into())))
        .into();
    Ok(Target {
        bucket: BUCKET.to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(server.endpoint().to_owned()),
        force_path_style: true,
        ca_bundle: None,
        credentials: Credentials::from_secret("demo", "company-s3", &data)?,
        prefix: "team".to_owned(),
    })
}

/// Passes as a controller makes them that was just started, until nothing is asked for at once.
async fn settle(spec: &BucketSpec, target: &Target, status: &mut Option<BucketStatus>) -> Outcome {
    settle_at(&Buckets::default(), Timestamp::UNIX_EPOCH, spec, target, status).await
}

async fn settle_at(
    buckets: &Buckets,
    now: Timestamp,
    spec: &BucketSpec,
    target: &Target,
    status: &mut Option<BucketStatus>,
) -> Outcome {
    loop {
        let request = Request { uid: "uid", spec, target, recorded: status.as_ref() };
        let outcome = buckets.reconcile(request, now).await;
        if let Some(new) = &outcome.status {
            *status = Some(new.clone());
        }
        if !outcome.next_check.is_zero() {
            return outcome;
        }
    }
}

/// `Truth/Reason` by condition.
fn told(outcome: &Outcome) -> BTreeMap<&'static str, String> {
    outcome.findings.iter().map(|f| (f.type_, format!("{}/{}", f.truth.as_str(), f.reason))).collect()
}

fn everything() -> BucketSpec {
    let mut spec = BucketSpec { deletion_policy: DeletionPolicy::Delete, ..BucketSpec::default() };
    spec.tags.values = BTreeMap::from([("team".to_owned(), "platform".to_owned())]);
    spec.lifecycle.noncurrent_version_expiration_days = Some(30);
    spec
}

/// From no bucket to a configured one and back to none. `expected`: one `Truth/Reason` for each aspect, in the order of their names.
async fn makes_keeps_and_deletes(server: &HostServer, expected: [&str; 5]) -> Result<()> {
    let (spec, target) = (everything(), target(server, ACCESS_KEY, SECRET_KEY)?);
    let mut status = None;
    let buckets = Buckets::default();
    let made = settle_at(&buckets, Timestamp::UNIX_EPOCH, &spec, &target, &mut status).await;
    let aspects = ["BucketEncrypted", "BucketLifecycle", "BucketPrivate", "BucketTagged", "BucketVersioned"];
    let mut wanted: BTreeMap<_, _> = aspects.into_iter().zip(expected.map(str::to_owned)).collect();
    wanted.insert("BucketReady", "True/Created".to_owned());
    ensure!(told(&made) == wanted, "{:#?}", made.findings);

    let later = Timestamp::UNIX_EPOCH + made.next_check + Duration::from_secs(1);
    let again = settle_at(&buckets, later, &spec, &target, &mut status).await;
    ensure!(told(&again) == wanted, "the second pass sees something else: {:#?}", again.findings);
    let writes: Vec<_> = again.changes.iter().collect();
    ensure!(writes.is_empty(), "a second pass writes: {writes:?}");

    let client = s3::client(server.endpoint(), ACCESS_KEY, SECRET_KEY);
    client.put_object().bucket(BUCKET).key("team/v1/meta/format").body(b"{}".to_vec().into()).send().await?;
    let now = Timestamp::UNIX_EPOCH;
    let kept = release(spec.deletion_policy, status.as_ref(), &target, now, now).await;
    ensure!(matches!(&kept, Released::Kept(why) if why.contains("objects")), "{kept:?}");

    client.delete_object().bucket(BUCKET).key("team/v1/meta/format").send().await?;
    let versions = client.list_object_versions().bucket(BUCKET).send().await?;
    if !versions.versions().is_empty() || !versions.delete_markers().is_empty() {
        let kept = release(spec.deletion_policy, status.as_ref(), &target, now, now).await;
        ensure!(matches!(&kept, Released::Kept(why) if why.contains("old versions")), "{kept:?}");
        let old = versions.versions().iter().map(|v| v.version_id());
        for id in old.chain(versions.delete_markers().iter().map(|m| m.version_id())) {
            client
                .delete_object()
                .bucket(BUCKET)
                .key("team/v1/meta/format")
                .set_version_id(id.map(str::to_owned))
                .send()
                .await?;
        }
    }
    let gone = release(spec.deletion_policy, status.as_ref(), &target, now, now).await;
    ensure!(matches!(gone, Released::Deleted(_)), "{gone:?}");
    ensure!(!exists(&client).await?, "the bucket is still there");

    let after = settle(&spec, &target, &mut status).await;
    ensure!(told(&after).get("BucketReady").map(String::as_str) == Some("False/Vanished"), "{:?}", after.findings);
    ensure!(!exists(&client).await?, "a bucket that vanished was made again");
    Ok(())
}

async fn exists(client: &aws_sdk_s3::Client) -> Result<bool> {
    Ok(client.list_buckets().send().await?.buckets().iter().any(|bucket| bucket.name() == Some(BUCKET)))
}

#[tokio::test(flavor = "multi_thread")]
async fn versitygw_has_versioning_and_tags() -> Result<()> {
    let server = HostServer::versitygw().await?;
    let lacking = "Unknown/Unsupported";
    makes_keeps_and_deletes(&server, [lacking, lacking, lacking, "True/Enforced", "True/Enforced"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn minio_has_versioning_and_tags_and_keeps_a_part_of_a_lifecycle_rule() -> Result<()> {
    // It expires old versions, and drops `AbortIncompleteMultipartUpload` from the rule without a word.
    let server = HostServer::minio().await?;
    let lacking = "Unknown/Unsupported";
    makes_keeps_and_deletes(&server, [lacking, lacking, lacking, "True/Enforced", "True/Enforced"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ministack_has_everything() -> Result<()> {
    let server = HostServer::ministack().await?;
    makes_keeps_and_deletes(&server, ["True/Enforced"; 5]).await
}

/// MinIO takes `DELETE ?publicAccessBlock`, which it does not know, for DeleteBucket. An operator that "removes the block" of an
/// empty bucket removes the bucket.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_bucket_on_minio_survives_the_operator() -> Result<()> {
    let server = HostServer::minio().await?;
    let client = s3::client(server.endpoint(), ACCESS_KEY, SECRET_KEY);
    client.create_bucket().bucket(BUCKET).send().await?;
    let target = target(&server, ACCESS_KEY, SECRET_KEY)?;
    let mut status = None;
    for management in [Management::Enforce, Management::Observe, Management::Ignore, Management::Enforce] {
        let mut spec = everything();
        spec.public_access_block.management = management;
        spec.versioning.management = management;
        let outcome = settle(&spec, &target, &mut status).await;
        ensure!(outcome.usable, "{:#?}", outcome.findings);
        ensure!(exists(&client).await?, "the bucket is gone with public access block {management:?}");
    }
    let origin = status.as_ref().map(|s| s.origin);
    ensure!(origin == Some(BucketOrigin::Adopted), "{origin:?}");
    let now = Timestamp::UNIX_EPOCH;
    let kept = release(DeletionPolicy::Delete, status.as_ref(), &target, now, now).await;
    ensure!(
        matches!(kept, Released::Kept(_)) && exists(&client).await?,
        "an adopted bucket is never deleted: {kept:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_are_told_by_secret_and_key() -> Result<()> {
    for server in [HostServer::versitygw().await?, HostServer::minio().await?] {
        for (access_key, secret_key, part) in [
            (ACCESS_KEY, "wrong-secret", "Check key AWS_SECRET_ACCESS_KEY"),
            ("nobody", SECRET_KEY, "Check key AWS_ACCESS_KEY_ID"),
        ] {
            let outcome = settle(&everything(), &target(&server, access_key, secret_key)?, &mut None).await;
            let ready = outcome.findings.first().context("BucketReady comes first")?;
            ensure!(ready.reason == "CredentialsRejected" && !outcome.usable, "{ready:?}");
            for part in
                [part, "Secret \"company-s3\" in namespace demo", "it answered 40", "Nothing was changed in the bucket"]
            {
                ensure!(ready.message.contains(part), "{part} not in {}", ready.message);
            }
            ensure!(!ready.message.contains(secret_key), "{}", ready.message);
        }
    }
    Ok(())
}
