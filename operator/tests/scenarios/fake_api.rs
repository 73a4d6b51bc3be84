//! An API server in memory: objects by path, a log of requests, refusals on demand. It merges what is applied into what is there, so
//! that fields of others stay, adds the defaults of a real one, and bumps `resourceVersion` only when something changed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use kube::client::Body;
use serde_json::{Value, json};

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

impl Sent {
    /// `PATCH deployments/company`: verb and the end of the path.
    pub(crate) fn short(&self) -> String {
        let parts: Vec<_> = self.path.rsplit('/').take(2 + usize::from(self.path.ends_with("/status"))).collect();
        format!("{} {}", self.method, parts.into_iter().rev().collect::<Vec<_>>().join("/"))
    }
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    log: Vec<Sent>,
    version: u64,
    /// (method, end of path) -> status with which it is refused.
    refusals: Vec<(Method, String, u16)>,
    /// Part of a body -> writes that hold it are refused.
    refused_words: Vec<String>,
    /// Plural -> whoever watches that kind.
    watchers: Vec<(String, mpsc::UnboundedSender<Bytes>)>,
}

#[derive(Clone, Default)]
pub(crate) struct FakeApi {
    state: Arc<Mutex<State>>,
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

impl FakeApi {
    pub(crate) fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let (parts, body) = request.into_parts();
                let bytes = body.collect().await.expect("a request's body").to_bytes();
                let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("JSON") };
                let sent = Sent {
                    method: parts.method,
                    path: parts.uri.path().to_owned(),
                    query: parts.uri.query().unwrap_or_default().to_owned(),
                    body,
                };
                Ok::<_, Infallible>(api.answer(sent))
            }
        });
        kube::Client::new(service, "default")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the lock")
    }

    /// Puts an object as somebody else would.
    pub(crate) fn put(&self, path: &str, object: Value) {
        let mut state = self.lock();
        state.version += 1;
        let version = state.version.to_string();
        let mut object = object;
        let meta = &mut object["metadata"];
        let (namespace, name) = place(path);
        meta["name"] = json!(name);
        meta["namespace"] = json!(namespace);
        meta["resourceVersion"] = json!(version);
        if meta["uid"].is_null() {
            meta["uid"] = json!(format!("uid-{version}"));
        }
        state.objects.insert(path.to_owned(), object);
    }

    pub(crate) fn remove(&self, path: &str) {
        self.lock().objects.remove(path);
    }

    /// Removes an object, and tells those who watch its kind.
    pub(crate) fn delete(&self, path: &str) {
        let mut state = self.lock();
        let object = state.objects.remove(path).unwrap_or_else(|| panic!("no object at {path}"));
        let event = Bytes::from(format!("{}\n", json!({ "type": "DELETED", "object": object })));
        let plural = path.rsplit('/').nth(1).unwrap_or_default();
        for (_, watcher) in state.watchers.iter().filter(|(watched, _)| watched == plural) {
            let _ = watcher.unbounded_send(event.clone());
        }
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.lock().objects.get(path).cloned()
    }

    pub(crate) fn edit(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(path).unwrap_or_else(|| panic!("no object at {path}"));
        change(&mut object);
        self.put(path, object);
    }

    pub(crate) fn refuse(&self, method: Method, path_end: &str, status: u16) {
        self.lock().refusals.push((method, path_end.to_owned(), status));
    }

    /// Refuses every request whose body holds `word`, as if the API server had gone away.
    pub(crate) fn refuse_word(&self, word: &str) {
        self.lock().refused_words.push(word.to_owned());
    }

    pub(crate) fn allow_all(&self) {
        let mut state = self.lock();
        state.refusals.clear();
        state.refused_words.clear();
    }

    /// Forgets and returns what was sent so far.
    pub(crate) fn take_log(&self) -> Vec<Sent> {
        std::mem::take(&mut self.lock().log)
    }

    /// The writes among what was sent so far, without events; forgets all.
    pub(crate) fn take_writes(&self) -> Vec<Sent> {
        let mut log = self.take_log();
        log.retain(|sent| sent.method != Method::GET && !sent.path.contains("/events"));
        log
    }

    fn answer(&self, sent: Sent) -> Answer {
        let mut state = self.lock();
        state.log.push(sent.clone());
        let refused = state.refusals.iter().find(|(m, end, _)| *m == sent.method && sent.path.ends_with(end.as_str()));
        if let Some((_, _, status)) = refused {
            return failure(*status, "refused by the test");
        }
        let body = sent.body.to_string();
        if state.refused_words.iter().any(|word| body.contains(word.as_str())) {
            return failure(500, "refused by the test");
        }
        match sent.method {
            Method::GET if is_collection(&sent.path) => list_or_watch(&mut state, &sent),
            Method::GET => match state.objects.get(&sent.path) {
                Some(object) => ok(object),
                None => failure(404, "not found"),
            },
            Method::POST => ok(&sent.body),
            Method::PATCH => state.patch(&sent),
            Method::DELETE => match state.objects.remove(&sent.path) {
                Some(object) => ok(&object),
                None => failure(404, "not found"),
            },
            _ => failure(405, "not a verb of this API server"),
        }
    }
}

impl State {
    fn patch(&mut self, sent: &Sent) -> Answer {
        let apply = sent.query.contains("fieldManager=supercargo%2Fregistry") || sent.query.contains("force=true");
        let (path, to_status) = match sent.path.strip_suffix("/status") {
            Some(path) => (path, true),
            None => (sent.path.as_str(), false),
        };
        let before = self.objects.get(path).cloned();
        // Merge patch and server-side apply alike are bound to the version that they name.
        let based_on = &sent.body["metadata"]["resourceVersion"];
        if let Some(before) = &before
            && !based_on.is_null()
            && *based_on != before["metadata"]["resourceVersion"]
        {
            return failure(409, "the object has been modified");
        }
        if let (Some(before), Value::Array(operations)) = (&before, &sent.body) {
            return match json_patched(before, operations) {
                Ok(after) => self.written(path, Some(before), after),
                Err(code) => failure(code, "the JSON patch does not fit"),
            };
        }
        let after = match (&before, to_status, apply) {
            (None, true, _) | (None, _, false) => return failure(404, "not found"),
            (Some(before), true, true) => {
                let mut after = before.clone();
                after["status"] = sent.body["status"].clone();
                after
            }
            (Some(before), _, false) => {
                let mut after = before.clone();
                merge(&mut after, &sent.body);
                after
            }
            (before, false, true) => applied(before.as_ref(), &sent.body),
        };
        let expected = &sent.body["metadata"]["uid"];
        if let Some(before) = &before
            && !expected.is_null()
            && *expected != before["metadata"]["uid"]
        {
            return failure(409, "uid mismatch");
        }
        self.written(path, before.as_ref(), after)
    }

    fn written(&mut self, path: &str, before: Option<&Value>, mut after: Value) -> Answer {
        if before != Some(&after) {
            self.version += 1;
            let version = self.version.to_string();
            let meta = &mut after["metadata"];
            meta["resourceVersion"] = json!(version);
            if meta["uid"].is_null() {
                meta["uid"] = json!(format!("uid-{version}"));
            }
            let (namespace, name) = place(path);
            meta["name"] = json!(name);
            meta["namespace"] = json!(namespace);
            self.objects.insert(path.to_owned(), after.clone());
        }
        ok(&after)
    }
}

/// What server-side apply gives: what was there and is not ours to take away, what was sent, and the server's defaults.
fn applied(before: Option<&Value>, sent: &Value) -> Value {
    let mut after = before.cloned().unwrap_or_else(|| sent.clone());
    apply_onto(&mut after, sent);
    default_like_a_server(&mut after);
    after
}

fn apply_onto(target: &mut Value, sent: &Value) {
    match (target, sent) {
        (Value::Object(target), Value::Object(sent)) => {
            for (key, value) in sent {
                apply_onto(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(target), Value::Array(sent)) if sent.iter().all(|member| !member["name"].is_null()) => {
            for member in sent {
                match target.iter_mut().find(|t| t["name"] == member["name"] && t["mountPath"] == member["mountPath"]) {
                    Some(found) => apply_onto(found, member),
                    None => target.push(member.clone()),
                }
            }
        }
        (target, sent) => *target = sent.clone(),
    }
}

/// As Kubernetes 1.36 fills in what was left out.
fn default_like_a_server(object: &mut Value) {
    let defaults = match object["kind"].as_str() {
        Some("Deployment") => {
            object["metadata"]["generation"] = json!(1);
            let containers = object["spec"]["template"]["spec"]["containers"].as_array_mut();
            for container in containers.into_iter().flatten() {
                container["terminationMessagePath"] = json!("/dev/termination-log");
                // Only where a ProcMount was asked for once; releases before 1.12 filled it in everywhere.
                container["securityContext"]["procMount"] = json!("Default");
                for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                    container[probe]["successThreshold"] = json!(1);
                }
            }
            let account = object["spec"]["template"]["spec"]["serviceAccountName"].clone();
            json!({ "template": { "spec": { "dnsPolicy": "ClusterFirst", "restartPolicy": "Always",
                    "schedulerName": "default-scheduler", "serviceAccount": account } } })
        }
        Some("Service") => json!({ "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "ipFamilies": ["IPv4"],
            "internalTrafficPolicy": "Cluster", "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None" }),
        Some("PersistentVolumeClaim") => json!({ "volumeMode": "Filesystem", "volumeName": "pvc-1" }),
        _ => return,
    };
    merge(&mut object["spec"], &defaults);
}

/// `add`, `replace` and `remove`; a `resourceVersion` that is replaced has to be the one that is there.
fn json_patched(before: &Value, operations: &[Value]) -> Result<Value, u16> {
    let mut after = before.clone();
    for operation in operations {
        let pointer = operation["path"].as_str().ok_or(400_u16)?;
        let value = operation["value"].clone();
        if pointer == "/metadata/resourceVersion" && value != before["metadata"]["resourceVersion"] {
            return Err(409);
        }
        let (parent, key) = pointer.rsplit_once('/').ok_or(400_u16)?;
        let key = key.replace("~1", "/").replace("~0", "~");
        let parent = after.pointer_mut(parent).and_then(Value::as_object_mut).ok_or(422_u16)?;
        match operation["op"].as_str() {
            Some("remove") => drop(parent.remove(&key).ok_or(422_u16)?),
            Some("add" | "replace") => drop(parent.insert(key, value)),
            _ => return Err(400),
        }
    }
    default_like_a_server(&mut after);
    Ok(after)
}

fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    target.remove(key);
                } else {
                    merge(target.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

/// Whether the path names a kind rather than an object.
fn is_collection(path: &str) -> bool {
    let segments = path.trim_start_matches('/').split('/').count();
    let in_group = path.starts_with("/apis/");
    let namespaced = path.contains("/namespaces/");
    segments == 3 + usize::from(in_group) + if namespaced { 2 } else { 0 } || (!namespaced && segments <= 4)
}

fn place(path: &str) -> (String, String) {
    let parts: Vec<_> = path.split('/').collect();
    let namespace = parts.iter().position(|p| *p == "namespaces").map_or("", |i| parts[i + 1]);
    (namespace.to_owned(), parts.last().copied().unwrap_or_default().to_owned())
}

fn list_or_watch(state: &mut State, sent: &Sent) -> Answer {
    let plural = sent.path.rsplit('/').next().unwrap_or_default();
    if sent.query.contains("watch=true") {
        let (watcher, events) = mpsc::unbounded();
        state.watchers.push((plural.to_owned(), watcher));
        return Response::new(BoxBody::new(StreamBody::new(events.map(|event| Ok(Frame::data(event))))));
    }
    let items: Vec<_> = state
        .objects
        .iter()
        .filter(|(path, _)| path.rsplit('/').nth(1) == Some(plural))
        .map(|(_, object)| object.clone())
        .collect();
    ok(&json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "1" }, "items": items }))
}

fn ok(body: &Value) -> Answer {
    let bytes = serde_json::to_vec(body).expect("JSON");
    Response::new(BoxBody::new(Full::new(Bytes::from(bytes))))
}

fn failure(code: u16, message: &str) -> Answer {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        _ => "InternalError",
    };
    let status = json!({ "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message });
    let mut answer = ok(&status);
    *answer.status_mut() = StatusCode::from_u16(code).expect("a status");
    answer
}
