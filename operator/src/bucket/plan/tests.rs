use super::*;
use crate::crd::bucket::TagsSpec;

fn gone() -> Answer {
    Answer { status: 404, code: "NoSuchBucket".into(), message: String::new() }
}

fn lacking() -> Answer {
    Answer { status: 501, code: "NotImplemented".into(), message: String::new() }
}

/// Every case of policy, record and bucket there is.
#[test]
fn decisions() {
    use BucketOrigin::{Adopted, Created, Creating};
    use CreationPolicy::{Adopt, AdoptOrCreate, Create};
    let empty = Presence::Present { empty: true };
    let full = Presence::Present { empty: false };
    let absent = Presence::Absent(gone());
    let exists = Step::Stop(Stop::AlreadyExists);
    let not_found = Step::Stop(Stop::NotFound(gone()));
    let vanished = Step::Stop(Stop::Vanished(gone()));
    for (presence, recorded, on_adopt, on_create, on_either) in [
        (&empty, None, Step::Use(Adopted), exists.clone(), Step::Use(Adopted)),
        (&full, None, Step::Use(Adopted), exists.clone(), Step::Use(Adopted)),
        (&empty, Some(Creating), Step::Use(Created), Step::Use(Created), Step::Use(Created)),
        (&full, Some(Creating), Step::Use(Adopted), exists, Step::Use(Adopted)),
        (&full, Some(Created), Step::Use(Created), Step::Use(Created), Step::Use(Created)),
        (&full, Some(Adopted), Step::Use(Adopted), Step::Use(Adopted), Step::Use(Adopted)),
        (&absent, None, not_found.clone(), Step::Announce, Step::Announce),
        (&absent, Some(Creating), not_found, Step::Create, Step::Create),
        (&absent, Some(Created), vanished.clone(), vanished.clone(), vanished.clone()),
        (&absent, Some(Adopted), vanished.clone(), vanished.clone(), vanished),
    ] {
        for (policy, expected) in [(Adopt, on_adopt), (Create, on_create), (AdoptOrCreate, on_either)] {
            assert_eq!(decide(policy, recorded, presence), expected, "{policy:?}, {recorded:?}, {presence:?}");
        }
    }
}

#[test]
fn a_record_of_another_bucket_counts_for_nothing() {
    let recorded = BucketStatus {
        name: "b".into(),
        endpoint: Some("http://one".into()),
        region: "r".into(),
        origin: BucketOrigin::Created,
    };
    assert_eq!(recorded_origin(Some(&recorded), "b", Some("http://one")), Some(BucketOrigin::Created));
    for (name, endpoint) in [("c", Some("http://one")), ("b", Some("http://two")), ("b", None)] {
        assert_eq!(recorded_origin(Some(&recorded), name, endpoint), None, "{name} {endpoint:?}");
    }
}

#[test]
fn a_bucket_in_use_is_the_same_one_under_another_endpoint() {
    let recorded =
        |origin| BucketStatus { name: "b".into(), endpoint: Some("http://one".into()), region: "r".into(), origin };
    for origin in [BucketOrigin::Created, BucketOrigin::Adopted] {
        assert_eq!(remembered_origin(Some(&recorded(origin)), "b", Some("http://two")), Some(origin));
        assert_eq!(remembered_origin(Some(&recorded(origin)), "c", Some("http://one")), None);
    }
    let announced = recorded(BucketOrigin::Creating);
    assert_eq!(remembered_origin(Some(&announced), "b", Some("http://one")), Some(BucketOrigin::Creating));
    assert_eq!(remembered_origin(Some(&announced), "b", Some("http://two")), None, "announced there, not here");
}

fn with_tags() -> BucketSpec {
    let values = [("team".to_owned(), "platform".to_owned())].into();
    BucketSpec { tags: TagsSpec { values, ..TagsSpec::default() }, ..BucketSpec::default() }
}

fn nothing_set() -> Observed {
    Observed {
        versioning: Seen::Unset,
        encryption: Seen::Unset,
        public_access: Seen::Unset,
        lifecycle: Seen::Unset,
        tags: Seen::Unset,
    }
}

fn planned(spec: &BucketSpec, observed: &Observed) -> Vec<Write> {
    writes(spec, &standings(spec, "team/", observed))
}

#[test]
fn a_bare_bucket_gets_everything_that_is_enforced() {
    let aspects: Vec<Aspect> = planned(&with_tags(), &nothing_set()).iter().map(Write::aspect).collect();
    assert_eq!(
        aspects,
        [Aspect::Versioning, Aspect::Encryption, Aspect::PublicAccess, Aspect::Lifecycle, Aspect::Tags]
    );
}

#[test]
fn what_is_unsupported_denied_or_unclear_gets_no_write() {
    let spec = with_tags();
    for observed in [
        Observed {
            versioning: Seen::Unsupported(lacking()),
            encryption: Seen::Unsupported(lacking()),
            public_access: Seen::Unsupported(lacking()),
            lifecycle: Seen::Unsupported(lacking()),
            tags: Seen::Unsupported(lacking()),
        },
        Observed {
            versioning: Seen::Denied(lacking()),
            encryption: Seen::Unclear(Failure::TimedOut),
            public_access: Seen::NotAsked,
            lifecycle: Seen::Denied(lacking()),
            tags: Seen::Unclear(Failure::TimedOut),
        },
    ] {
        assert_eq!(planned(&spec, &observed), [], "{observed:?}");
    }
}

#[test]
fn one_switch_off_is_not_private() {
    let live = PublicAccess { block_public_policy: false, ..PublicAccess::BLOCKED };
    let observed = Observed { public_access: Seen::Set(live), ..nothing_set() };
    let (_, standing) = &standings(&BucketSpec::default(), "", &observed)[2];
    assert!(
        matches!(standing, Standing::Differs { live, .. } if live.contains("BlockPublicPolicy off")),
        "{standing:?}"
    );
}

#[test]
fn another_key_is_written_only_if_the_spec_names_one() {
    let live = |key: Option<&str>| {
        let carried = CarriedEncryption::default();
        Encryption { algorithm: "aws:kms".into(), kms_key_id: key.map(Into::into), carried }
    };
    let spec = |key: Option<&str>| EncryptionSpec {
        algorithm: Some(EncryptionAlgorithm::KMS),
        kms_key_id: key.map(Into::into),
        ..EncryptionSpec::default()
    };
    let holds = |wanted, has| matches!(encryption(&spec(wanted), Some(&live(has))), Standing::Holds(_));
    assert!(holds(None, None) && holds(None, Some("a")) && holds(Some("a"), Some("a")));
    assert!(!holds(Some("a"), Some("b")) && !holds(Some("a"), None));
}

#[test]
fn a_version_limit_that_left_the_spec_leaves_the_bucket_too() {
    let mut spec = LifecycleSpec { noncurrent_version_expiration_days: Some(30), ..LifecycleSpec::default() };
    let live = Lifecycle { ours: wanted_rules(&spec, "team/"), foreign: ForeignRules::default() };
    assert!(matches!(lifecycle(&spec, "team/", Some(&live)), Standing::Holds(_)));
    spec.noncurrent_version_expiration_days = None;
    let Standing::Differs { remedy: Ok(write), live: text } = lifecycle(&spec, "team/", Some(&live)) else {
        panic!("keeping versions for ever is what the spec says now")
    };
    assert_eq!(text, "rule \"supercargo:team/\" differs in NoncurrentVersionExpiration");
    assert!(matches!(&*write, Write::Lifecycle(rules, _) if rules[0].noncurrent_days.is_none()), "{write:?}");
}

#[test]
fn only_what_proofs_leave_behind_ever_expires() {
    let spec = LifecycleSpec { noncurrent_version_expiration_days: Some(30), ..LifecycleSpec::default() };
    for (prefix, probes) in [("", "v1/probe/"), ("team/", "team/v1/probe/")] {
        let rules = wanted_rules(&spec, prefix);
        let expiring: Vec<_> = rules.iter().filter(|rule| rule.expire_days.is_some()).collect();
        assert!(matches!(expiring.as_slice(), [rule] if rule.prefix == probes), "{rules:?}");
        assert_eq!((expiring[0].expire_days, expiring[0].noncurrent_days), (Some(1), Some(1)));
        let kept = rules.iter().find(|rule| rule.prefix == prefix).expect("the registry's own rule");
        assert_eq!((kept.expire_days, kept.noncurrent_days), (None, Some(30)));
    }
}

#[test]
fn registries_in_one_bucket_have_a_rule_each() {
    assert_eq!((rule_id(""), rule_id("a/b/")), ("supercargo:/".to_owned(), "supercargo:a/b/".to_owned()));
    // One registry may live below what is the proofs' place of another.
    assert_ne!(rule_id("v1/probe/"), probe_rule_id(""));
}
