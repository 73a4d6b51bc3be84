//! Which requests the operator sends to S3, and what it tells about the answers.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]

mod deletion;
mod endpoints;
mod fake_s3;
mod trouble;

use fake_s3::{FakeS3, Kind};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use supercargo_operator::bucket::{Buckets, Credentials, Outcome, Request, Target};
use supercargo_operator::crd::bucket::{
    BucketOrigin, BucketSpec, BucketStatus, CreationPolicy, EncryptionAlgorithm, Management,
};
use supercargo_operator::crd::conditions::Truth;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn target(endpoint: &str) -> Target {
    let keys = [("AWS_ACCESS_KEY_ID", "hush-id"), ("AWS_SECRET_ACCESS_KEY", "hush-secret")];
    let data = keys.map(|(key, value)| (key.to_owned(), ByteString(value.into()))).into();
    Target {
        bucket: "crates".into(),
        region: "eu-west-1".into(),
        endpoint: Some(endpoint.into()),
        force_path_style: true,
        ca_bundle: None,
        credentials: Credentials::from_secret("demo", "company-s3", &data).expect("two keys"),
        prefix: "team".into(),
    }
}

/// One CargoRegistry's view of its bucket: keeps status as the API server would.
struct Registry {
    buckets: Buckets,
    spec: BucketSpec,
    target: Target,
    status: Option<BucketStatus>,
}

impl Registry {
    fn new(fake: &FakeS3, spec: BucketSpec) -> Registry {
        Registry { buckets: Buckets::default(), spec, target: target(&fake.endpoint), status: None }
    }

    async fn pass(&mut self, second: i64) -> Outcome {
        let request = Request { uid: "u", spec: &self.spec, target: &self.target, recorded: self.status.as_ref() };
        let outcome = self.buckets.reconcile(request, at(second)).await;
        if let Some(status) = &outcome.status {
            self.status = Some(status.clone());
        }
        outcome
    }

    /// Passes until nothing is asked for at once.
    async fn settle(&mut self, second: i64) -> Outcome {
        for _ in 0..3 {
            let outcome = self.pass(second).await;
            if !outcome.next_check.is_zero() {
                return outcome;
            }
        }
        panic!("never settles");
    }
}

/// `Truth/Reason` of one condition.
fn told(outcome: &Outcome, type_: &str) -> String {
    let finding = outcome.findings.iter().find(|f| f.type_ == type_);
    finding.map_or_else(|| "absent".into(), |f| format!("{}/{}", f.truth.as_str(), f.reason))
}

fn message<'a>(outcome: &'a Outcome, type_: &str) -> &'a str {
    outcome.findings.iter().find(|f| f.type_ == type_).map(|f| f.message.as_str()).unwrap_or_default()
}

fn writes(log: &[String]) -> Vec<&str> {
    log.iter().map(String::as_str).filter(|line| !line.starts_with("GET ")).collect()
}

fn all(management: Management) -> BucketSpec {
    let mut spec = BucketSpec::default();
    spec.versioning.management = management;
    spec.encryption.management = management;
    spec.public_access_block.management = management;
    spec.lifecycle.management = management;
    spec.tags.management = management;
    spec.tags.values = [("team".to_owned(), "platform".to_owned())].into();
    spec
}

const ASPECTS: [&str; 5] = ["BucketVersioned", "BucketEncrypted", "BucketPrivate", "BucketLifecycle", "BucketTagged"];

#[tokio::test]
async fn a_new_bucket_is_announced_then_made_then_brought_to_the_spec() {
    let fake = FakeS3::start(Kind::Full).await;
    let mut registry = Registry::new(&fake, all(Management::Enforce));

    let first = registry.pass(0).await;
    assert_eq!(told(&first, "BucketReady"), "False/Creating");
    assert_eq!(registry.status.as_ref().map(|s| s.origin), Some(BucketOrigin::Creating));
    assert_eq!(writes(&fake.take_log()), Vec::<&str>::new(), "nothing is made before status says so");

    let second = registry.pass(0).await;
    assert_eq!(told(&second, "BucketReady"), "True/Created");
    assert!(second.next_check.is_zero(), "status says so before anything else is done");
    assert_eq!(registry.status.as_ref().map(|s| s.origin), Some(BucketOrigin::Created));
    assert_eq!(writes(&fake.take_log()), ["PUT /crates"]);

    let third = registry.pass(0).await;
    assert!(third.usable);
    for aspect in ASPECTS {
        assert_eq!(told(&third, aspect), "True/Enforced", "{aspect}: {}", message(&third, aspect));
    }
    let log = fake.take_log();
    let expected = [
        "PUT /crates?versioning",
        "PUT /crates?encryption",
        "PUT /crates?publicAccessBlock",
        "PUT /crates?lifecycle",
        "PUT /crates?tagging",
    ];
    assert_eq!(writes(&log), expected);
    for write in &expected {
        let read = write.replace("PUT", "GET");
        let (read_at, written_at) = (log.iter().position(|l| *l == read), log.iter().position(|l| l == write));
        assert!(read_at < written_at, "{write} was sent before it was read: {log:#?}");
    }
    assert_eq!((second.changes.len(), third.changes.len()), (1, 5), "{:?}", third.changes);
    let created_with = fake.document("crates", "created-with").unwrap();
    assert!(created_with.contains("<LocationConstraint>eu-west-1</LocationConstraint>"), "{created_with}");
    assert!(fake.document("crates", "lifecycle").unwrap().contains("<Prefix>team/</Prefix>"));
}

#[tokio::test]
async fn nothing_is_written_when_nothing_differs_and_nothing_is_sent_before_the_next_check() {
    let fake = FakeS3::start(Kind::Full).await;
    let mut registry = Registry::new(&fake, all(Management::Enforce));
    let settled = registry.settle(0).await;
    fake.take_log();

    let again = registry.pass(1).await;
    assert_eq!(fake.take_log(), Vec::<String>::new(), "fresh: from memory");
    assert_eq!((again.findings, again.changes), (settled.findings, vec![]));

    registry.pass(10_000).await;
    let log = fake.take_log();
    assert_eq!((log.len(), writes(&log)), (6, vec![]), "six reads: {log:#?}");
}

#[tokio::test]
async fn what_drifts_is_put_back_within_minutes() {
    let fake = FakeS3::start(Kind::Full).await;
    let mut registry = Registry::new(&fake, all(Management::Enforce));
    let settled = registry.settle(0).await;
    fake.take_log();
    fake.put_document(
        "crates",
        "versioning",
        "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>",
    );
    let later = i64::try_from(settled.next_check.as_secs()).unwrap();
    assert!(later <= 600, "looked for every few minutes");
    let mended = registry.pass(later).await;
    assert_eq!(writes(&fake.take_log()), ["PUT /crates?versioning"]);
    assert_eq!(told(&mended, "BucketVersioned"), "True/Enforced");
}

#[tokio::test]
async fn observe_tells_and_never_writes_and_ignore_does_not_even_look() {
    let fake = FakeS3::start(Kind::Full).await;
    fake.make_bucket("crates");
    let mut registry = Registry::new(&fake, all(Management::Observe));
    let outcome = registry.settle(0).await;
    assert_eq!(told(&outcome, "BucketReady"), "True/Adopted");
    for aspect in ASPECTS {
        assert_eq!(told(&outcome, aspect), "False/Drifted", "{}", message(&outcome, aspect));
    }
    assert_eq!(writes(&fake.take_log()), Vec::<&str>::new());

    let mut registry = Registry::new(&fake, all(Management::Ignore));
    let outcome = registry.settle(0).await;
    assert!(ASPECTS.iter().all(|aspect| told(&outcome, aspect) == "Unknown/Ignored"), "{:?}", outcome.findings);
    assert_eq!(fake.take_log(), ["GET /crates"]);
}

const FOREIGN_RULE: &str = "<Rule><ID>theirs</ID><Filter><Prefix>logs/</Prefix></Filter><Status>Enabled</Status>\
    <Expiration><Days>3</Days></Expiration></Rule>";

#[tokio::test]
async fn rules_and_tags_of_others_stay() {
    let fake = FakeS3::start(Kind::Full).await;
    fake.make_bucket("crates");
    fake.put_document(
        "crates",
        "lifecycle",
        &format!("<LifecycleConfiguration>{FOREIGN_RULE}</LifecycleConfiguration>"),
    );
    let theirs = "<Tagging><TagSet><Tag><Key>aws:stack</Key><Value>s</Value></Tag><Tag><Key>team</Key><Value>other</Value></Tag></TagSet></Tagging>";
    fake.put_document("crates", "tagging", theirs);
    let mut registry = Registry::new(&fake, all(Management::Enforce));
    let outcome = registry.settle(0).await;
    assert_eq!(told(&outcome, "BucketLifecycle"), "True/Enforced");
    let rules = fake.document("crates", "lifecycle").unwrap();
    for part in [
        "theirs",
        "logs/",
        "<Expiration><Days>3</Days></Expiration>",
        "supercargo:team/",
        "<DaysAfterInitiation>7</DaysAfterInitiation>",
        "supercargo-probe:team/",
        "<Prefix>team/v1/probe/</Prefix>",
        "<Expiration><Days>1</Days></Expiration>",
        "<NoncurrentDays>1</NoncurrentDays>",
    ] {
        assert!(rules.contains(part), "{part} not in {rules}");
    }
    let tags = fake.document("crates", "tagging").unwrap();
    assert!(tags.contains("aws:stack") && tags.contains("platform") && !tags.contains("other"), "{tags}");
}

#[tokio::test]
async fn rules_that_cannot_be_carried_over_are_not_touched() {
    let fake = FakeS3::start(Kind::Full).await;
    fake.make_bucket("crates");
    let rule =
        FOREIGN_RULE.replace("</Expiration>", "<ExpiredObjectAllVersions>true</ExpiredObjectAllVersions></Expiration>");
    let document = format!("<LifecycleConfiguration>{rule}</LifecycleConfiguration>");
    fake.put_document("crates", "lifecycle", &document);
    let mut registry = Registry::new(&fake, BucketSpec::default());
    let outcome = registry.settle(0).await;
    assert_eq!(told(&outcome, "BucketLifecycle"), "False/Conflict");
    assert!(message(&outcome, "BucketLifecycle").contains("ExpiredObjectAllVersions"));
    assert_eq!(fake.document("crates", "lifecycle"), Some(document));
}

#[tokio::test]
async fn a_store_without_public_access_block_is_sent_nothing_but_the_question() {
    let fake = FakeS3::start(Kind::MinIo).await;
    fake.make_bucket("crates");
    let mut registry = Registry::new(&fake, BucketSpec::default());
    let outcome = registry.settle(0).await;
    assert!(outcome.usable, "what a store lacks is no failure");
    assert_eq!(told(&outcome, "BucketPrivate"), "Unknown/Unsupported");
    assert!(message(&outcome, "BucketPrivate").contains("501 NotImplemented"));
    let log = fake.take_log();
    let about: Vec<_> = log.iter().filter(|line| line.contains("publicAccessBlock")).collect();
    assert!(about.iter().all(|line| line.starts_with("GET ")), "{about:?}");
    assert!(!log.iter().any(|line| line.starts_with("DELETE")), "{log:?}");
    assert!(fake.has_bucket("crates"), "the empty bucket is still there");

    assert_eq!(told(&outcome, "BucketEncrypted"), "Unknown/Unsupported");
    assert_eq!(told(&outcome, "BucketLifecycle"), "Unknown/Unsupported");
    assert_eq!(told(&outcome, "BucketVersioned"), "True/Enforced");
    let again = registry.pass(1000).await;
    assert_eq!(writes(&fake.take_log()), Vec::<&str>::new(), "what was refused as unsupported is not sent again soon");
    assert_eq!(told(&again, "BucketLifecycle"), "Unknown/Unsupported");
    registry.pass(5000).await;
    let rules = fake.document("crates", "lifecycle").unwrap();
    assert!(rules.contains("supercargo-probe:team/") && !rules.contains("supercargo:team/"), "what it can do: {rules}");
    assert_eq!(
        writes(&fake.take_log()),
        ["PUT /crates?encryption", "PUT /crates?lifecycle", "PUT /crates?lifecycle"],
        "after an hour it may have learnt"
    );
}

#[tokio::test]
async fn what_a_store_takes_and_drops_is_told_and_not_sent_again_for_an_hour() {
    let fake = FakeS3::start(Kind::MinIo).await;
    let mut spec = BucketSpec::default();
    spec.lifecycle.noncurrent_version_expiration_days = Some(30);
    let mut registry = Registry::new(&fake, spec);
    let outcome = registry.settle(0).await;
    assert_eq!(told(&outcome, "BucketLifecycle"), "Unknown/Unsupported");
    let text = message(&outcome, "BucketLifecycle");
    assert!(text.contains("differs in AbortIncompleteMultipartUpload: the store accepted the change"), "{text}");
    assert!(fake.document("crates", "lifecycle").unwrap().contains("NoncurrentVersionExpiration"), "half is better");

    fake.take_log();
    let again = registry.settle(301).await;
    assert_eq!(told(&again, "BucketLifecycle"), "Unknown/Unsupported");
    assert_eq!(writes(&fake.take_log()), [""; 0], "no write when nothing has changed");
    registry.settle(3700).await;
    assert!(writes(&fake.take_log()).contains(&"PUT /crates?lifecycle"), "after an hour it may have learnt");
}

#[tokio::test]
async fn a_store_without_any_sub_resource_is_usable() {
    let fake = FakeS3::start(Kind::Bare).await;
    let mut registry = Registry::new(&fake, all(Management::Enforce));
    let outcome = registry.settle(0).await;
    assert!(outcome.usable && fake.has_bucket("crates"));
    assert!(ASPECTS.iter().all(|aspect| told(&outcome, aspect) == "Unknown/Unsupported"), "{:?}", outcome.findings);
    assert_eq!(writes(&fake.take_log()), ["PUT /crates"]);
    assert!(outcome.findings.iter().all(|f| f.truth != Truth::False), "no alert for what a store lacks");
}

const KMS: &str = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>\
    <KMSMasterKeyID>k</KMSMasterKeyID></ApplyServerSideEncryptionByDefault><BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType>\
    </BlockedEncryptionTypes></Rule></ServerSideEncryptionConfiguration>";

#[tokio::test]
async fn a_stronger_encryption_stays_unless_the_spec_names_another() {
    let fake = FakeS3::start(Kind::Full).await;
    fake.make_bucket("crates");
    fake.put_document("crates", "encryption", KMS);
    let mut registry = Registry::new(&fake, BucketSpec::default());
    let outcome = registry.settle(0).await;
    assert_eq!(told(&outcome, "BucketEncrypted"), "True/Enforced");
    assert_eq!(fake.document("crates", "encryption").as_deref(), Some(KMS));

    let mut spec = BucketSpec::default();
    spec.encryption.algorithm = Some(EncryptionAlgorithm::AES256);
    let mut registry = Registry::new(&fake, spec);
    registry.settle(0).await;
    let now = fake.document("crates", "encryption").unwrap();
    assert!(now.contains("AES256") && now.contains("SSE-C") && !now.contains("aws:kms"), "{now}");
}

#[tokio::test]
async fn a_bucket_that_was_announced_and_then_filled_by_someone_else_is_not_ours() {
    let fake = FakeS3::start(Kind::Full).await;
    let mut registry = Registry::new(&fake, BucketSpec::default());
    registry.pass(0).await;
    fake.make_bucket("crates");
    fake.content(true, false, false);
    let outcome = registry.pass(0).await;
    assert_eq!(told(&outcome, "BucketReady"), "True/Adopted");

    let mut registry =
        Registry::new(&fake, BucketSpec { creation_policy: CreationPolicy::Create, ..BucketSpec::default() });
    fake.take_log();
    let outcome = registry.pass(0).await;
    assert_eq!((told(&outcome, "BucketReady").as_str(), outcome.usable), ("False/AlreadyExists", false));
    assert_eq!(fake.take_log(), ["GET /crates"]);
}
