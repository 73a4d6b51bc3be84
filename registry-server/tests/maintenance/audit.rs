//! The audit log: one object per change, written after the answer, the same whoever writes it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use supercargo_registry::krate::record::OpKind;
use supercargo_registry::maintenance::Progress;
use supercargo_registry::maintenance::fsck::{Code, Options};
use supercargo_registry::store::faulty::{Call, Fault};
use supercargo_registry::store::{Prefix, list_all};

use crate::{Place, name, publish};

impl Place {
    /// The entries that there are, by the kind and what they are about.
    async fn audited(&self) -> Vec<Value> {
        self.registry.finish_writes().await;
        let mut entries = Vec::new();
        for entry in list_all(self.store.inner(), &Prefix::Audits).await.unwrap() {
            let value: Value = serde_json::from_slice(&self.object(&entry.key).await).expect("a line of JSON");
            let at = value["at"].as_str().unwrap();
            let hour = format!("{}/{}/{}/{}", &at[..4], &at[5..7], &at[8..10], &at[11..13]);
            let op = value["op"].as_str().unwrap();
            assert_eq!(entry.key.to_string(), format!("v1/audit/{hour}/{op}"));
            entries.push(value);
        }
        entries
    }
}

#[tokio::test(start_paused = true)]
async fn every_change_has_one_entry() {
    let place = Place::new().await;
    let (registry, ann, krate) = (&place.registry, &place.ann, name("krate"));
    publish(registry, ann, "krate", "1.0.0").await.unwrap();
    publish(registry, ann, "krate", "1.0.0").await.unwrap();
    let version = "1.0.0".parse().unwrap();
    for yanked in [true, true, false] {
        registry.set_yanked(ann, &krate, &version, yanked).await.unwrap();
    }
    let bob = ["bob".parse().unwrap()];
    registry.add_owners(ann, &krate, &bob).await.unwrap();
    registry.remove_owners(ann, &krate, &bob).await.unwrap();
    registry.delete_crate(&krate).await.unwrap();
    registry.restore_crate(&krate).await.unwrap();
    let hash = registry.tokens().await.unwrap()[0].0;
    registry.revoke_token(hash).await.unwrap();

    let entries = place.audited().await;
    let of = |kind: &str| entries.iter().filter(|entry| entry["kind"] == kind).collect::<Vec<_>>();
    let kinds: BTreeSet<_> = entries.iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    let all =
        ["delete", "owner-add", "owner-remove", "publish", "restore", "token-create", "token-revoke", "unyank", "yank"];
    assert_eq!((entries.len(), kinds), (all.len(), all.into()));
    let published = of("publish")[0];
    assert_eq!(
        (&published["actor"], &published["crate"], &published["version"]),
        (&"ann".into(), &"krate".into(), &"1.0.0".into())
    );
    assert_eq!((&of("owner-add")[0]["owners"][0], &of("delete")[0]["actor"]), (&"bob".into(), &"admin".into()));
    assert_eq!(
        (&of("token-revoke")[0]["token"], &of("token-revoke")[0]["user"]),
        (&hash.to_string().into(), &"ann".into())
    );
    // What is in the record is what is in the log.
    let record = place.record("krate").await;
    for done in record.ops() {
        let entry = entries.iter().find(|entry| entry["op"] == done.op.as_str()).expect("every op is exported");
        assert_eq!(entry["rev"], done.rev);
    }
    assert_eq!(record.ops()[0].kind, OpKind::Publish);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_cannot_be_written_fails_no_command_and_a_lost_answer_makes_no_second() {
    let place = Place::new().await;
    place.audited().await;
    for _ in 0..5 {
        place.store.script(Call::Put, "v1/audit/", Fault::NotSent);
    }
    publish(&place.registry, &place.ann, "krate", "1.0.0").await.expect("the change is committed");
    assert_eq!(place.audited().await.len(), 1, "the token's alone");

    place.store.script(Call::Put, "v1/audit/", Fault::LostReply);
    place.store.script(Call::Put, "v1/audit/", Fault::LostRequest);
    publish(&place.registry, &place.ann, "krate", "1.1.0").await.unwrap();
    assert_eq!(place.audited().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_answer_does_not_wait_for_the_entry_and_a_drain_does() {
    let place = Place::new().await;
    place.audited().await;
    place.store.script(Call::Put, "v1/audit/", Fault::Throttled);
    let begun = tokio::time::Instant::now();
    publish(&place.registry, &place.ann, "krate", "1.0.0").await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO, "nothing in a publish takes time here");
    assert_eq!(list_all(place.store.inner(), &Prefix::Audits).await.unwrap().len(), 1);
    assert_eq!(place.audited().await.len(), 2);
}

/// On a directory the kernel writes entries some seconds later: what a power cut leaves of the last ones has no bytes.
#[tokio::test(start_paused = true)]
async fn an_entry_whose_bytes_were_lost_with_the_power_is_written_again() {
    let place = Place::new().await;
    publish(&place.registry, &place.ann, "krate", "1.0.0").await.unwrap();
    let before = place.audited().await;
    for entry in list_all(place.store.inner(), &Prefix::Audits).await.unwrap() {
        place.plant(&entry.key, "").await;
    }
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let options = Options { repair: true, ..Options::default() };
    let report =
        supercargo_registry::maintenance::fsck::run(&place.registry, options, &Progress::default()).await.unwrap();
    let lost = report.problems.iter().filter(|problem| problem.code == Code::AuditMissing && problem.repaired);
    assert_eq!(lost.count(), before.len(), "{:?}", report.problems);
    assert_eq!(place.audited().await, before);
}
