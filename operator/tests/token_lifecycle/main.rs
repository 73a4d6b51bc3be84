//! The life of a CargoToken against an API server and a registry in memory: one story per test, and every crash in between.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]

mod crashes;
mod deletion;
mod fake_cluster;
mod fake_registry;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use clap::Parser;
use fake_cluster::FakeCluster;
use fake_registry::FakeRegistry;
use jiff::Timestamp;
use kube_runtime::controller::Action;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use supercargo_operator::config::{Cli, Command};
use supercargo_operator::context::Context;
use supercargo_operator::controller::Reconcile;
use supercargo_operator::crd::token::CargoToken;
use supercargo_operator::error::Error;
use supercargo_operator::token::Tokens;

const TOKEN: &str = "/apis/supercargo.dev/v1alpha1/namespaces/demo/cargotokens/ci";
const REGISTRY: &str = "/apis/supercargo.dev/v1alpha1/namespaces/demo/cargoregistries/company";
const INTERNAL: &str = "/api/v1/namespaces/demo/secrets/company-internal";
const SECRET: &str = "/api/v1/namespaces/demo/secrets/ci";

thread_local! {
    // A test runs on one thread, so each has its own clock and its own dice.
    static NOW: Cell<i64> = const { Cell::new(1_800_000_000) };
    static DRAWN: Cell<u64> = const { Cell::new(0) };
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW.get()).expect("in range")
}

fn pass_time(seconds: i64) {
    NOW.set(NOW.get() + seconds);
}

fn fill_random(bytes: &mut [u8]) {
    for chunk in bytes.chunks_mut(32) {
        DRAWN.set(DRAWN.get() + 1);
        chunk.copy_from_slice(&Sha256::digest(DRAWN.get().to_le_bytes())[..chunk.len()]);
    }
}

/// A cluster with a registry that serves, and a CargoToken.
struct World {
    cluster: FakeCluster,
    registry: FakeRegistry,
    tokens: Tokens,
    context: Arc<Context>,
}

impl World {
    async fn new(spec: Value) -> World {
        let cluster = FakeCluster::default();
        let registry = FakeRegistry::start(cluster.faults.clone()).await;
        let Command::Run(config) = Cli::try_parse_from(["supercargo-operator", "run"]).expect("defaults").command
        else {
            panic!("run was parsed")
        };
        let context = Arc::new(Context::new(cluster.client(), *config, now, fill_random));
        let tokens = reaching(&registry);
        let world = World { cluster, registry, tokens, context };
        world.make_registry(true);
        let mut token = json!({
            "apiVersion": "supercargo.dev/v1alpha1", "kind": "CargoToken",
            "metadata": {"name": "ci", "namespace": "demo", "generation": 1},
            "spec": {"registryRef": {"name": "company"}, "grants": [{"verbs": ["Read", "PublishNew"], "crates": ["payments-*"]}]}
        });
        for (key, value) in spec.as_object().expect("fields of the spec") {
            token["spec"][key] = value.clone();
        }
        world.cluster.put(TOKEN, token);
        world
    }

    fn make_registry(&self, ready: bool) {
        let ready = if ready { "True" } else { "False" };
        let condition = json!({"type": "Ready", "status": ready, "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        self.cluster.put(
            REGISTRY,
            json!({
                "apiVersion": "supercargo.dev/v1alpha1", "kind": "CargoRegistry",
                "metadata": {"name": "company", "namespace": "demo"},
                "spec": {"storage": {"s3": {"bucket": "crates"}}},
                "status": {"indexUrl": "sparse+https://cargo.example.com/index/", "conditions": [condition]}
            }),
        );
        let uid = self.cluster.get(REGISTRY).expect("put")["metadata"]["uid"].clone();
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        self.cluster.put(INTERNAL, json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "company-internal", "namespace": "demo", "ownerReferences":
                [{"apiVersion": "supercargo.dev/v1alpha1", "kind": "CargoRegistry", "name": "company", "uid": uid, "controller": true}]},
            "data": {"admin-token": encode(fake_registry::CREDENTIAL), "ca.crt": encode(&self.registry.ca)}
        }));
    }

    fn token(&self) -> CargoToken {
        serde_json::from_value(self.cluster.get(TOKEN).expect("the CargoToken")).expect("parses")
    }

    async fn pass(&self) -> Result<Action, Error> {
        let token = Arc::new(self.token());
        let outcome = self.tokens.reconcile(Arc::clone(&token), Arc::clone(&self.context)).await;
        if let Err(error) = &outcome {
            self.tokens.failed(token, error, Arc::clone(&self.context)).await;
        }
        outcome
    }

    /// Passes until one changes nothing.
    async fn settle(&self) {
        for _ in 0..10 {
            let before = (self.cluster.get(TOKEN), self.cluster.get(SECRET));
            if self.pass().await.is_ok() && before == (self.cluster.get(TOKEN), self.cluster.get(SECRET)) {
                return;
            }
        }
        panic!("does not settle: {:#}", self.cluster.get(TOKEN).unwrap_or_default());
    }

    /// The operator's process is gone, and another begins with what the cluster holds.
    fn restart(&mut self) {
        self.tokens = reaching(&self.registry);
    }

    fn data(&self, key: &str) -> String {
        let secret = self.cluster.get(SECRET).expect("the Secret");
        let bytes = base64::engine::general_purpose::STANDARD.decode(secret["data"][key].as_str().unwrap_or_default());
        String::from_utf8(bytes.expect("base64")).expect("text")
    }

    /// Hash of the token in the Secret.
    fn in_secret(&self) -> String {
        hex::encode(Sha256::digest(self.data("token")))
    }

    /// `Status/Reason` of a condition.
    fn told(&self, type_: &str) -> String {
        let status = self.token().status.unwrap_or_default();
        let condition = status.conditions.iter().find(|c| c.type_ == type_);
        condition.map_or_else(|| "absent".into(), |c| format!("{}/{}", c.status, c.reason))
    }

    fn issued(&self) -> Vec<String> {
        self.token().status.unwrap_or_default().issued.into_iter().map(|t| t.sha256).collect()
    }
}

fn reaching(registry: &FakeRegistry) -> Tokens {
    let url = registry.url.clone();
    Tokens::reaching(move |_, _| url.clone())
}

#[tokio::test]
async fn a_token_is_known_to_the_registry_before_the_secret_holds_it() {
    let world = World::new(json!({})).await;
    world.settle().await;
    assert_eq!(world.told("Ready"), "True/Issued");
    assert_eq!(
        (world.told("Registered").as_str(), world.told("SecretWritten").as_str()),
        ("True/InForce", "True/Written")
    );
    let expected = [
        format!("PATCH {TOKEN}"),
        format!("PATCH {TOKEN}/status"),
        "POST /api/v1/namespaces/demo/secrets/ci".to_owned(),
        format!("PATCH {TOKEN}/status"),
    ];
    assert_eq!(world.cluster.take_writes(), expected, "finalizer, announcement, Secret, report");

    let hash = world.in_secret();
    assert_eq!(world.issued(), std::slice::from_ref(&hash));
    let known = world.registry.token(&hash).expect("known");
    assert_eq!((&known["user"], &known["expires_at"]), (&json!("ci"), &Value::Null));
    assert_eq!(known["grants"], json!([{"verbs": ["Read", "PublishNew"], "crates": ["payments-*"]}]));
    assert!(world.data("config.toml").contains("index = \"sparse+https://cargo.example.com/index/\""));
    assert!(world.data("credentials.toml").contains(&world.data("token")));

    let secret = world.cluster.get(SECRET).unwrap();
    assert_eq!(secret["metadata"]["ownerReferences"][0]["kind"], "CargoToken");
    let status = world.cluster.get(TOKEN).unwrap().to_string();
    assert!(!status.contains(&world.data("token")), "the token is nowhere but in the Secret");
}

#[tokio::test]
async fn nothing_is_written_when_nothing_changed_and_the_registry_is_asked_again_after_minutes() {
    let world = World::new(json!({})).await;
    world.settle().await;
    world.cluster.take_writes();
    world.registry.take_calls();
    for _ in 0..3 {
        world.pass().await.unwrap();
    }
    assert_eq!((world.cluster.take_writes(), world.registry.take_calls()), (vec![], vec![]));
    pass_time(700);
    world.pass().await.unwrap();
    assert_eq!(world.registry.take_calls(), [format!("PUT {}", world.in_secret())]);
    assert_eq!(world.cluster.take_writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_token_is_replaced_after_two_thirds_of_its_life_and_both_are_in_force_until_the_end() {
    let world = World::new(json!({"expiresAfter": "30m"})).await;
    world.settle().await;
    let old = world.in_secret();
    assert_eq!(world.token().status.unwrap().expires_at.unwrap().0, now() + jiff::SignedDuration::from_mins(30));
    pass_time(1199);
    world.settle().await;
    assert_eq!(world.in_secret(), old);
    let Action { .. } = world.pass().await.unwrap();
    pass_time(1);
    world.settle().await;
    let new = world.in_secret();
    assert_ne!(new, old);
    let mut both = vec![old.clone(), new.clone()];
    both.sort();
    assert_eq!(world.registry.in_force(), both);
    let end = world.registry.token(&old).unwrap()["expires_at"].clone();
    assert_eq!(
        end,
        json!((now() + jiff::SignedDuration::from_mins(10)).to_string()),
        "the old one ends when it always would"
    );
    assert_eq!(world.told("Ready"), "True/Issued");

    pass_time(600);
    world.settle().await;
    assert_eq!((world.registry.in_force(), world.issued()), (vec![new.clone()], vec![new]));
}

#[tokio::test]
async fn a_deleted_or_edited_secret_means_another_token_and_the_old_one_revoked() {
    let world = World::new(json!({})).await;
    world.settle().await;
    let first = world.in_secret();
    world.cluster.remove(SECRET);
    world.settle().await;
    let second = world.in_secret();
    assert_ne!(second, first);
    assert_eq!((world.registry.in_force(), world.issued()), (vec![second.clone()], vec![second.clone()]));

    world.cluster.edit(SECRET, |secret| secret["data"]["token"] = json!("aHVudGVyMg=="));
    world.settle().await;
    let third = world.in_secret();
    assert_ne!(third, second);
    assert_eq!(world.registry.in_force(), std::slice::from_ref(&third));

    world.cluster.edit(SECRET, |secret| {
        secret["data"]["config.toml"] = json!("");
        secret["data"]["extra"] = json!("bWluZQ==");
    });
    world.settle().await;
    assert_eq!(world.in_secret(), third, "another file is mended with the same token");
    assert!(world.data("config.toml").contains("sparse+") && world.data("extra") == "mine");
}

#[tokio::test]
async fn a_secret_of_someone_else_is_left_alone_and_no_token_is_made() {
    let world = World::new(json!({})).await;
    let foreign = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ci", "namespace": "demo"}, "data": {"token": "bWluZQ=="}});
    world.cluster.put(SECRET, foreign);
    let before = world.cluster.get(SECRET);
    world.settle().await;
    assert_eq!(world.told("Ready"), "False/SecretNotOurs");
    assert_eq!((world.cluster.get(SECRET), world.registry.take_calls()), (before, vec![]));
    world.cluster.remove(SECRET);
    world.settle().await;
    assert_eq!(world.told("Ready"), "True/Issued");
}

#[tokio::test]
async fn what_is_missing_is_told_and_heals() {
    let world = World::new(json!({})).await;
    let registry = world.cluster.get(REGISTRY).unwrap();
    world.cluster.remove(REGISTRY);
    world.settle().await;
    assert_eq!(world.told("Ready"), "False/RegistryNotFound");
    world.cluster.put(REGISTRY, registry);
    world.settle().await;
    assert_eq!(
        world.told("Ready"),
        "False/RegistryNotReady",
        "the internal Secret belongs to the registry that was there before"
    );
    world.make_registry(false);
    world.settle().await;
    assert_eq!((world.told("Ready").as_str(), world.registry.take_calls()), ("False/RegistryNotReady", vec![]));
    world.make_registry(true);
    world.settle().await;
    assert_eq!(world.told("Ready"), "True/Issued");
}

#[tokio::test]
async fn a_registry_that_is_not_ready_for_a_while_does_not_break_a_token_that_works() {
    let mut world = World::new(json!({})).await;
    world.settle().await;
    world.make_registry(false);
    world.registry.set_down(true);
    pass_time(10_000);
    world.settle().await;
    world.restart();
    world.settle().await;
    assert_eq!(world.told("Ready"), "True/Issued");
}

#[tokio::test]
async fn a_registry_that_does_not_answer_is_told_and_no_second_token_is_made() {
    let world = World::new(json!({})).await;
    world.registry.set_down(true);
    for _ in 0..4 {
        let _ = world.pass().await;
    }
    assert_eq!(world.told("Ready"), "False/RegistryUnreachable");
    assert_eq!(world.issued().len(), 1, "the one that was announced waits");
    assert_eq!(world.cluster.get(SECRET), None, "no Secret with a token that nobody takes");
    world.registry.set_down(false);
    world.settle().await;
    assert_eq!(world.registry.in_force(), [world.in_secret()]);
}

#[tokio::test]
async fn new_grants_reach_the_same_token_and_refused_ones_are_told() {
    let world = World::new(json!({})).await;
    world.settle().await;
    let hash = world.in_secret();
    world.cluster.edit(TOKEN, |token| {
        token["spec"]["grants"][0]["verbs"] = json!(["Read"]);
        token["metadata"]["generation"] = json!(2);
    });
    world.settle().await;
    assert_eq!(world.in_secret(), hash);
    assert_eq!(world.registry.token(&hash).unwrap()["grants"][0]["verbs"], json!(["Read"]));
    assert_eq!(world.token().status.unwrap().observed_generation, Some(2));

    world.registry.set_refuse(true);
    world.cluster.edit(TOKEN, |token| token["spec"]["grants"][0]["crates"] = json!(["-x"]));
    world.settle().await;
    assert_eq!(world.told("Ready"), "False/Refused");
    let message = world.token().status.unwrap().conditions.iter().find(|c| c.type_ == "Ready").unwrap().message.clone();
    assert!(message.contains("the pattern `-x`"), "{message}");
}

#[tokio::test]
async fn a_token_that_was_revoked_at_the_registry_is_replaced() {
    let world = World::new(json!({})).await;
    world.settle().await;
    let dead = world.in_secret();
    world.registry.revoke(&dead);
    pass_time(700);
    world.settle().await;
    let new = world.in_secret();
    assert_ne!(new, dead);
    assert_eq!((world.registry.in_force(), world.issued()), (vec![new.clone()], vec![new]));
}

#[tokio::test]
async fn a_stale_copy_of_the_object_leads_to_a_conflict_and_to_no_token() {
    let world = World::new(json!({})).await;
    let _ = world.pass().await;
    let stale = Arc::new(world.token());
    world.settle().await;
    let hash = world.in_secret();
    let error = world.tokens.reconcile(stale, Arc::clone(&world.context)).await.expect_err("stale");
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    assert_eq!((world.in_secret(), world.registry.in_force()), (hash.clone(), vec![hash]));
}

#[tokio::test]
async fn the_wait_is_short_enough_to_notice_a_secret_that_is_gone() {
    let world = World::new(json!({})).await;
    world.settle().await;
    let action = world.pass().await.unwrap();
    assert_eq!(action, Action::requeue(Duration::from_secs(10)));
}
