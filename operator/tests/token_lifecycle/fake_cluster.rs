//! An API server in memory: enough of get, create, apply, merge patch and status for one controller, with resourceVersions that are checked,
//! a log of writes, and faults before or after a request has its effect.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// Where a request is cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// It has no effect.
    Before,
    /// It has its effect, and the answer is lost.
    After,
}

/// Counts the requests to API server and registry together, and cuts one of them short.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Arc<Mutex<(usize, Option<(usize, When)>)>>);

impl Faults {
    /// From now on, the `n`-th request (from 0) is cut short.
    pub(crate) fn arm(&self, n: usize, when: When) {
        *self.0.lock().unwrap() = (0, Some((n, when)));
    }

    /// Whether the fault has struck; it is gone then.
    pub(crate) fn disarm(&self) -> bool {
        let mut state = self.0.lock().unwrap();
        let struck = state.1.is_some_and(|(n, _)| state.0 > n);
        state.1 = None;
        struck
    }

    pub(crate) fn next(&self) -> Option<When> {
        let mut state = self.0.lock().unwrap();
        let (seen, fault) = *state;
        state.0 += 1;
        fault.filter(|(n, _)| *n == seen).map(|(_, when)| when)
    }
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    writes: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct FakeCluster {
    state: Arc<Mutex<State>>,
    pub(crate) faults: Faults,
}

impl FakeCluster {
    pub(crate) fn client(&self) -> Client {
        let cluster = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let cluster = cluster.clone();
            async move { Ok::<_, Infallible>(cluster.answer(request).await) }
        });
        Client::new(service, "demo")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// Puts an object there, as somebody else does.
    pub(crate) fn put(&self, path: &str, mut object: Value) {
        let mut state = self.state();
        state.version += 1;
        let version = state.version;
        let old = state.objects.get(path).map(|o| o["metadata"]["uid"].clone());
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        object["metadata"]["uid"] = old.unwrap_or_else(|| json!(format!("uid-{version}")));
        state.objects.insert(path.into(), object);
    }

    /// Changes an object, as somebody else does.
    pub(crate) fn edit(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(path).expect("there");
        change(&mut object);
        self.put(path, object);
    }

    pub(crate) fn remove(&self, path: &str) {
        self.state().objects.remove(path);
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.state().objects.get(path).cloned()
    }

    /// `METHOD path` of the writes since the last call, without events.
    pub(crate) fn take_writes(&self) -> Vec<String> {
        std::mem::take(&mut self.state().writes)
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let path = head.uri.path().to_owned();
        if path.contains("/events") {
            return reply(201, &serde_json::from_slice(&body).expect("an event"));
        }
        let fault = self.faults.next();
        if fault == Some(When::Before) {
            return failure(500, "InternalError", "cut short");
        }
        let content = head.headers.get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let response = self.act(&head.method, &path, &content, &body);
        if fault == Some(When::After) { failure(500, "InternalError", "answer lost") } else { response }
    }

    fn act(&self, method: &Method, path: &str, content: &str, body: &[u8]) -> Response<Body> {
        let mut state = self.state();
        if method == Method::GET {
            return state.objects.get(path).map_or_else(not_found, |object| reply(200, object));
        }
        let sent: Value = serde_json::from_slice(body).expect("JSON");
        let (path, status_only) = match path.strip_suffix("/status") {
            Some(object) => (object.to_owned(), true),
            None if method == Method::POST => (format!("{path}/{}", sent["metadata"]["name"].as_str().unwrap()), false),
            None => (path.to_owned(), false),
        };
        let live = state.objects.get(&path).cloned();
        let apply = content.starts_with("application/apply-patch");
        let mut object = match (live, method == Method::POST) {
            (Some(_), true) => return failure(409, "AlreadyExists", "already exists"),
            (None, false) if !apply => return not_found(),
            (None, _) => json!({}),
            (Some(live), false) => live,
        };
        for key in ["uid", "resourceVersion"] {
            let precondition = &sent["metadata"][key];
            if !precondition.is_null() && *precondition != object["metadata"][key] {
                return failure(409, "Conflict", "the object has been modified");
            }
        }
        let before = object.clone();
        match status_only {
            true => merge(&mut object["status"], &sent["status"]),
            false => merge(&mut object, &sent),
        }
        if object == before {
            return reply(200, &object);
        }
        state.version += 1;
        let version = state.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{version}"));
        }
        state.writes.push(format!("{method} {path}{}", if status_only { "/status" } else { "" }));
        let going = !object["metadata"]["deletionTimestamp"].is_null()
            && object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty);
        match going {
            true => drop(state.objects.remove(&path)),
            false => drop(state.objects.insert(path, object.clone())),
        }
        reply(200, &object)
    }
}

/// JSON merge patch (RFC 7396). Apply differs from it in ways that do not matter for the objects here.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().expect("made one").remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

fn reply(status: u16, object: &Value) -> Response<Body> {
    let response = Response::builder().status(StatusCode::from_u16(status).expect("a status"));
    response.body(Body::from(object.to_string().into_bytes())).expect("a response")
}

fn not_found() -> Response<Body> {
    failure(404, "NotFound", "not found")
}

fn failure(code: u16, reason: &str, message: &str) -> Response<Body> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message});
    reply(code, &status)
}
