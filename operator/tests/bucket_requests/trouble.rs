//! What a user reads when something is wrong, and that it heals.

use std::sync::Arc;

use super::*;

#[tokio::test]
async fn a_missing_bucket_with_adopt_is_told_and_heals() {
    let fake = FakeS3::start(Kind::Full).await;
    let mut registry =
        Registry::new(&fake, BucketSpec { creation_policy: CreationPolicy::Adopt, ..BucketSpec::default() });
    let outcome = registry.pass(0).await;
    assert_eq!((told(&outcome, "BucketReady").as_str(), outcome.usable), ("False/BucketNotFound", false));
    let text = message(&outcome, "BucketReady");
    for part in ["bucket \"crates\"", &fake.endpoint, "404 NoSuchBucket", "creationPolicy is Adopt"] {
        assert!(text.contains(part), "{part} not in {text}");
    }
    assert_eq!(fake.take_log(), ["GET /crates"]);
    assert_eq!(told(&outcome, "BucketVersioned"), "Unknown/BucketNotReady");

    fake.make_bucket("crates");
    let healed = registry.pass(i64::try_from(outcome.next_check.as_secs()).unwrap()).await;
    assert_eq!(told(&healed, "BucketReady"), "True/Adopted");
}

#[tokio::test]
async fn a_bucket_that_vanished_is_not_made_again() {
    let fake = FakeS3::start(Kind::Full).await;
    let mut registry = Registry::new(&fake, BucketSpec::default());
    assert!(registry.settle(0).await.usable);
    fake.remove_bucket("crates");
    fake.take_log();
    let outcome = registry.pass(1000).await;
    assert_eq!((told(&outcome, "BucketReady").as_str(), outcome.usable), ("False/Vanished", false));
    assert_eq!(writes(&fake.take_log()), Vec::<&str>::new());
    fake.make_bucket("crates");
    assert!(registry.pass(2000).await.usable, "made by hand, it is used again");
}

#[tokio::test]
async fn what_s3_says_of_credentials_names_secret_and_key_and_no_value() {
    let fake = FakeS3::start(Kind::Full).await;
    fake.make_bucket("crates");
    for (status, code, reason, part) in [
        (403, "InvalidAccessKeyId", "CredentialsRejected", "Check key AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", "CredentialsRejected", "Check key AWS_SECRET_ACCESS_KEY"),
        (400, "ExpiredToken", "CredentialsRejected", "Check key AWS_SESSION_TOKEN"),
        (403, "AccessDenied", "Denied", "may not do this"),
        (301, "PermanentRedirect", "WrongRegion", "storage.s3.region"),
        (501, "NotImplemented", "Unsupported", "does not offer this"),
    ] {
        fake.refuse(Some((status, code)));
        let mut registry = Registry::new(&fake, BucketSpec::default());
        let outcome = registry.pass(0).await;
        assert_eq!(told(&outcome, "BucketReady"), format!("False/{reason}"), "{code}");
        let text = message(&outcome, "BucketReady");
        for part in [part, code, "told by the fake", "Nothing was changed in the bucket"] {
            assert!(text.contains(part), "{part} not in {text}");
        }
        assert!(!text.contains("hush"), "{text}");
        assert!(!format!("{:?}", registry.target).contains("hush"));
        if reason == "CredentialsRejected" {
            assert!(text.contains("Secret \"company-s3\" in namespace demo"), "{text}");
        }
        fake.refuse(None);
        assert!(registry.pass(60).await.usable, "heals");
    }
}

#[tokio::test]
async fn an_overloaded_store_is_asked_twice_and_then_told() {
    let fake = FakeS3::start(Kind::Full).await;
    fake.refuse(Some((503, "SlowDown")));
    let mut registry = Registry::new(&fake, BucketSpec::default());
    let outcome = registry.pass(0).await;
    assert_eq!(told(&outcome, "BucketReady"), "False/StoreUnavailable");
    assert_eq!(fake.take_log().len(), 2);
}

#[tokio::test]
async fn a_page_instead_of_s3_is_recognised() {
    let fake = FakeS3::start(Kind::Full).await;
    fake.speak_html();
    let outcome = Registry::new(&fake, BucketSpec::default()).pass(0).await;
    assert_eq!(told(&outcome, "BucketReady"), "False/NotS3", "{}", message(&outcome, "BucketReady"));
}

#[tokio::test]
async fn a_closed_port_and_an_unknown_host_are_unreachable() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let fake = FakeS3::start(Kind::Full).await;
    for endpoint in [closed.as_str(), "http://no-such-host.invalid:9000"] {
        let mut registry = Registry::new(&fake, BucketSpec::default());
        registry.target.endpoint = Some(endpoint.into());
        let outcome = registry.pass(0).await;
        let text = message(&outcome, "BucketReady");
        assert_eq!(told(&outcome, "BucketReady"), "False/EndpointUnreachable", "{text}");
        assert!(text.contains(endpoint) && text.contains("Check storage.s3.endpoint"), "{text}");
    }
}

#[tokio::test]
async fn a_private_authority_needs_its_ca_bundle() {
    let certificate = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certificate.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key)
        .unwrap();
    let fake = FakeS3::start_tls(Arc::new(server).into()).await;
    fake.make_bucket("crates");

    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap().cert.pem();
    let mut registry = Registry::new(&fake, BucketSpec::default());
    registry.target.ca_bundle = Some(other.into_bytes());
    let outcome = registry.pass(0).await;
    let text = message(&outcome, "BucketReady");
    assert_eq!(told(&outcome, "BucketReady"), "False/CertificateNotTrusted", "{text}");
    assert!(text.contains("storage.s3.caBundle"), "{text}");

    registry.target.ca_bundle = Some(certificate.cert.pem().into_bytes());
    let outcome = registry.pass(0).await;
    assert!(outcome.usable, "{}", message(&outcome, "BucketReady"));

    for broken in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        registry.target.ca_bundle = Some(broken.as_bytes().to_vec());
        let outcome = registry.pass(0).await;
        let text = message(&outcome, "BucketReady");
        assert_eq!(told(&outcome, "BucketReady"), "False/InvalidConfiguration", "{broken:?}: {text}");
        assert!(text.contains("storage.s3.caBundle"), "{text}");
    }
}

#[tokio::test]
async fn an_aspect_that_may_not_be_written_harms_only_itself() {
    let fake = FakeS3::start(Kind::Full).await;
    fake.make_bucket("crates");
    fake.refuse_put("encryption", 403, "AccessDenied");
    fake.refuse_put("tagging", 400, "InvalidTag");
    let mut registry = Registry::new(&fake, all(Management::Enforce));
    let outcome = registry.settle(0).await;
    assert!(outcome.usable);
    assert_eq!(told(&outcome, "BucketEncrypted"), "False/Denied");
    assert!(message(&outcome, "BucketEncrypted").contains("there is no default encryption"));
    assert_eq!(told(&outcome, "BucketTagged"), "False/Refused");
    assert_eq!(told(&outcome, "BucketVersioned"), "True/Enforced");
    assert_eq!(outcome.changes.len(), 3, "{:?}", outcome.changes);
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_asked_less_and_less_often_until_it_does() {
    let fake = FakeS3::start(Kind::Full).await;
    fake.make_bucket("crates");
    let mut registry = Registry::new(&fake, BucketSpec::default());
    let mut second = 0;
    for turn in ["first", "second"] {
        fake.refuse(Some((403, "AccessDenied")));
        let mut waits = Vec::new();
        for _ in 0..10 {
            let wait = registry.pass(second).await.next_check.as_secs();
            waits.push(wait);
            second += i64::try_from(wait).unwrap();
        }
        assert_eq!(waits, [1, 1, 2, 2, 4, 4, 8, 8, 15, 15], "the {turn} time");
        fake.refuse(None);
        let healed = registry.pass(second).await;
        assert!(healed.usable);
        second += i64::try_from(healed.next_check.as_secs()).unwrap();
    }
}

#[tokio::test]
async fn a_pass_ends_in_its_time_and_tells_what_it_waited_for() {
    let fake = FakeS3::start(Kind::Full).await;
    let registry = Registry::new(&fake, all(Management::Enforce));
    let creating = BucketStatus {
        name: "crates".into(),
        endpoint: Some(fake.endpoint.clone()),
        region: "eu-west-1".into(),
        origin: BucketOrigin::Creating,
    };
    for (silent_about, usable, condition, expected) in [
        ("", false, "BucketReady", "False/EndpointTimedOut"),
        ("tagging", true, "BucketTagged", "Unknown/EndpointTimedOut"),
    ] {
        if usable {
            fake.make_bucket("crates");
        }
        fake.be_silent_about(Some(silent_about));
        let (spec, target) = (&registry.spec, &registry.target);
        let request = Request { uid: silent_about, spec, target, recorded: Some(&creating) };
        let budget = std::time::Duration::from_millis(400);
        let begun = std::time::Instant::now();
        let outcome = registry.buckets.reconcile_within(budget, request, at(0)).await;
        assert!(begun.elapsed() < 8 * budget, "{:?}", begun.elapsed());
        assert_eq!((told(&outcome, condition).as_str(), outcome.usable), (expected, usable), "{silent_about:?}");
        assert!(message(&outcome, condition).contains("answers too slowly"), "{}", message(&outcome, condition));
        assert!(outcome.next_check.as_secs() <= 15, "looked at again soon");
        if usable {
            assert_eq!(
                outcome.status.as_ref().map(|s| s.origin),
                Some(BucketOrigin::Created),
                "what is known stays known"
            );
        }
    }
}
