//! The machinery that every controller shares, over the same API server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use kube::ResourceExt;
use kube_runtime::controller::Action;
use serde_json::json;
use supercargo_operator::context::Context;
use supercargo_operator::controller::{self, Reconcile};
use supercargo_operator::crd::registry::CargoRegistry;
use supercargo_operator::error::{Error, Result};
use tokio::sync::Notify;

use crate::fake_api::FakeApi;
use crate::registry::context;

pub(crate) const COLLECTION: &str = "/apis/supercargo.dev/v1alpha1/namespaces/demo/cargoregistries";

/// Does to each object what its name says, and counts.
#[derive(Default)]
pub(crate) struct ByName {
    passes: Mutex<BTreeMap<String, u32>>,
    told: Mutex<BTreeMap<String, String>>,
    something_happened: Notify,
}

impl ByName {
    pub(crate) fn passes_of(&self, name: &str) -> u32 {
        self.passes.lock().unwrap().get(name).copied().unwrap_or_default()
    }

    pub(crate) async fn until(&self, done: impl Fn(&ByName) -> bool) {
        let wait = async {
            while !done(self) {
                self.something_happened.notified().await;
            }
        };
        let outcome = tokio::time::timeout(Duration::from_secs(600), wait).await;
        assert!(outcome.is_ok(), "passes {:?}, told {:?}", self.passes, self.told);
    }
}

impl Reconcile for ByName {
    type Object = CargoRegistry;
    const NAME: &'static str = "tests";

    async fn reconcile(&self, object: Arc<CargoRegistry>, _: Arc<Context>) -> Result<Action> {
        let name = object.name_any();
        *self.passes.lock().unwrap().entry(name.clone()).or_default() += 1;
        self.something_happened.notify_one();
        match name.as_str() {
            "panics" => panic!("on purpose"),
            "hangs" => std::future::pending().await,
            "once" if self.passes_of("once") == 1 => Err(Error::Internal { action: "fail", message: "once".into() }),
            _ => Ok(Action::await_change()),
        }
    }

    async fn failed(&self, object: Arc<CargoRegistry>, error: &Error, _: Arc<Context>) {
        self.told.lock().unwrap().insert(object.name_any(), error.label().to_owned());
        self.something_happened.notify_one();
    }
}

pub(crate) fn with(names: &[&str]) -> FakeApi {
    let api = FakeApi::default();
    for name in names {
        let spec = json!({ "storage": { "volume": { "size": "1Gi" } } });
        let object =
            json!({ "apiVersion": "supercargo.dev/v1alpha1", "kind": "CargoRegistry", "metadata": {}, "spec": spec });
        api.put(&format!("{COLLECTION}/{name}"), object);
    }
    api
}

pub(crate) struct Running {
    pub(crate) reconciler: Arc<ByName>,
    context: Arc<Context>,
    stop: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

pub(crate) fn start(api: &FakeApi) -> Running {
    let (reconciler, context, stop) = (Arc::new(ByName::default()), context(api), Arc::new(Notify::new()));
    let stopped = Arc::clone(&stop);
    let (r, c) = (Arc::clone(&reconciler), Arc::clone(&context));
    let task = tokio::spawn(async move {
        controller::run(r, c, None, |_| Vec::new(), async move { stopped.notified().await }).await;
    });
    Running { reconciler, context, stop, task }
}

#[tokio::test(start_paused = true)]
async fn a_panic_and_a_hang_harm_nobody_else_and_are_told() {
    let running = start(&with(&["panics", "hangs", "well"]));
    running.reconciler.until(|r| r.told.lock().unwrap().len() == 2 && r.passes_of("panics") > 3).await;
    assert_eq!(running.reconciler.passes_of("well"), 1);
    let told = running.reconciler.told.lock().unwrap().clone();
    assert_eq!(told, BTreeMap::from([("hangs".into(), "deadline".into()), ("panics".into(), "panic".into())]));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_tried_again_and_success_ends_it() {
    let running = start(&with(&["once"]));
    running.reconciler.until(|r| r.passes_of("once") == 2).await;
    tokio::time::sleep(Duration::from_secs(3600)).await; // virtual time: nothing is scheduled any more
    assert_eq!(running.reconciler.passes_of("once"), 2);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_does_not_parse_is_told_and_harms_nobody() {
    let api = with(&["well"]);
    let path = format!("{COLLECTION}/broken");
    api.put(
        &path,
        json!({ "apiVersion": "supercargo.dev/v1alpha1", "kind": "CargoRegistry",
        "metadata": { "generation": 4 }, "spec": { "storage": 7 } }),
    );
    let running = start(&api);
    running.reconciler.until(|r| r.passes_of("well") == 1).await;
    let told = async {
        while api.get(&path).unwrap()["status"].is_null() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), told).await.expect("a status");
    let condition = &api.get(&path).unwrap()["status"]["conditions"][0];
    assert_eq!((condition["type"].as_str(), condition["reason"].as_str()), (Some("Ready"), Some("InvalidObject")));
    assert_eq!(running.reconciler.passes_of("broken"), 0);
}

#[tokio::test(start_paused = true)]
async fn readiness_follows_the_watch_and_names_a_missing_crd() {
    let api = with(&["well"]);
    api.refuse(Method::GET, "/cargoregistries", 404);
    let running = start(&api);
    let until = |wanted: &'static str| {
        let context = Arc::clone(&running.context);
        async move {
            let wait = async {
                while !context.health.ready().err().unwrap_or_default().concat().contains(wanted) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), wait).await.expect(wanted);
        }
    };
    until("CustomResourceDefinition is not installed").await;
    api.allow_all();
    running.reconciler.until(|r| r.passes_of("well") == 1).await;
    assert_eq!(running.context.health.ready(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_the_pass_under_way_and_begins_none() {
    let running = start(&with(&["hangs"]));
    running.reconciler.until(|r| r.passes_of("hangs") == 1).await;
    running.stop.notify_one();
    running.task.await.expect("ends when the deadline has ended the pass");
    assert_eq!(running.reconciler.told.lock().unwrap()["hangs"], "deadline");
    assert_eq!(running.reconciler.passes_of("hangs"), 1);
}
