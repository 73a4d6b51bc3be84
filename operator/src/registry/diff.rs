//! Whether the live object already is what we would apply, so that an unchanged pass sends no write.
//!
//! The API server adds defaults and other writers add fields of their own, so equality is the wrong question: `live` has to
//! hold all that `desired` says ([`covers`]). Where an addition would lead clients elsewhere or give a pod more than we gave it, `live` must
//! hold nothing else either ([`extras`]); these are places that Kubernetes fills with no defaults. What we said before and say no longer
//! is not seen here; the hash annotation sees that ([`crate::names::MANIFEST_HASH`]).

use serde_json::{Map, Value};

use super::quantity;

/// Whether `live` holds all of `desired`. Lists whose members have a name (containers, ports, volumes, environment) may hold
/// further members, as server-side apply merges them; other lists have to be equal member by member.
pub fn covers(live: &Value, desired: &Value) -> bool {
    holds(live, desired, false)
}

/// Something in a live object that has to be as desired and nothing more.
#[derive(Clone, Debug, PartialEq)]
pub struct Extra {
    /// JSON pointer into the live object.
    pub pointer: String,
    /// What has to be there. `None`: nothing.
    pub wanted: Option<Value>,
}

/// Kind and path, lists passed through, of what others may not add to. Everything else they may: labels, annotations, tolerations,
/// a sidecar, a volume.
const EXACT: [&[&str]; 33] = [
    // Which pods: one more key, and a Service leads nowhere, a policy or a budget guards nothing.
    &["Service", "spec", "selector"],
    &["PodDisruptionBudget", "spec", "selector"],
    &["NetworkPolicy", "spec", "podSelector"],
    &["NetworkPolicy", "spec", "policyTypes"],
    &["NetworkPolicy", "spec", "ingress"],
    &["NetworkPolicy", "spec", "egress"],
    &["Deployment", "spec", "template", "spec", "topologySpreadConstraints", "labelSelector"],
    // What a pod may do on its node.
    &["Deployment", "spec", "template", "spec", "hostNetwork"],
    &["Deployment", "spec", "template", "spec", "hostPID"],
    &["Deployment", "spec", "template", "spec", "hostIPC"],
    &["Deployment", "spec", "template", "spec", "hostUsers"],
    &["Deployment", "spec", "template", "spec", "hostAliases"],
    &["Deployment", "spec", "template", "spec", "shareProcessNamespace"],
    &["Deployment", "spec", "template", "spec", "securityContext"],
    // What our container runs, and with what. Other containers are not ours.
    &["Deployment", "spec", "template", "spec", "containers", "command"],
    &["Deployment", "spec", "template", "spec", "containers", "args"],
    &["Deployment", "spec", "template", "spec", "containers", "workingDir"],
    &["Deployment", "spec", "template", "spec", "containers", "env"],
    &["Deployment", "spec", "template", "spec", "containers", "envFrom"],
    &["Deployment", "spec", "template", "spec", "containers", "lifecycle"],
    &["Deployment", "spec", "template", "spec", "containers", "securityContext"],
    &["Deployment", "spec", "template", "spec", "containers", "volumeDevices"],
    &["Deployment", "spec", "template", "spec", "containers", "ports", "hostPort"],
    &["Deployment", "spec", "template", "spec", "containers", "ports", "hostIP"],
    // The same for pods that run now and then.
    &["CronJob", "spec", "jobTemplate", "spec", "template", "spec", "hostNetwork"],
    &["CronJob", "spec", "jobTemplate", "spec", "template", "spec", "hostPID"],
    &["CronJob", "spec", "jobTemplate", "spec", "template", "spec", "hostIPC"],
    &["CronJob", "spec", "jobTemplate", "spec", "template", "spec", "securityContext"],
    &["CronJob", "spec", "jobTemplate", "spec", "template", "spec", "containers", "command"],
    &["CronJob", "spec", "jobTemplate", "spec", "template", "spec", "containers", "args"],
    &["CronJob", "spec", "jobTemplate", "spec", "template", "spec", "containers", "env"],
    &["CronJob", "spec", "jobTemplate", "spec", "template", "spec", "containers", "envFrom"],
    &["CronJob", "spec", "jobTemplate", "spec", "template", "spec", "containers", "securityContext"],
];
/// What some releases of Kubernetes fill in within [`EXACT`].
const FILLED_IN: [(&str, &str); 1] = [("procMount", "Default")];

/// What `live` holds beyond `desired` where it may not: server-side apply would leave it, since it belongs to another field manager.
pub fn extras(live: &Value, desired: &Value) -> Vec<Extra> {
    let mut found = Vec::new();
    let kind = desired["kind"].as_str().unwrap_or_default();
    find_extras(live, desired, &mut vec![kind], "", &mut found);
    found
}

fn find_extras<'a>(
    live: &'a Value,
    desired: &'a Value,
    path: &mut Vec<&'a str>,
    pointer: &str,
    found: &mut Vec<Extra>,
) {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            for (key, held) in live {
                let wanted = desired.get(key).filter(|wanted| !wanted.is_null());
                let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                path.push(key);
                if EXACT.contains(&path.as_slice()) {
                    if exceeds(held, wanted.unwrap_or(&Value::Null)) {
                        found.push(Extra { pointer, wanted: wanted.cloned() });
                    }
                } else if let Some(wanted) = wanted {
                    find_extras(held, wanted, path, &pointer, found);
                }
                path.pop();
            }
        }
        (Value::Array(live), Value::Array(desired)) => {
            for (index, held) in live.iter().enumerate() {
                if let Some(wanted) = counterpart(desired, index, held) {
                    find_extras(held, wanted, path, &format!("{pointer}/{index}"), found);
                }
            }
        }
        _ => {}
    }
}

/// Whether `live` holds something that `wanted` has not. A value that merely differs is none: apply sets it.
fn exceeds(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        // An empty selector is not nothing: it selects everything. An empty list is dropped by the API server.
        (live, Value::Null) => !live.is_null() && live.as_array().is_none_or(|list| !list.is_empty()),
        (Value::Object(live), Value::Object(wanted)) => live.iter().any(|(key, held)| {
            let filled_in = FILLED_IN.iter().any(|(filled, value)| key == filled && held == value);
            !filled_in && exceeds(held, wanted.get(key).unwrap_or(&Value::Null))
        }),
        (Value::Array(live), Value::Array(wanted)) => {
            let alone = |(index, held)| counterpart(wanted, index, held).is_none_or(|wanted| exceeds(held, wanted));
            live.iter().enumerate().any(alone)
        }
        _ => false,
    }
}

/// The member of `desired` that stands for `live[index]`: of the same name, or in the same place.
fn counterpart<'a>(desired: &'a [Value], index: usize, live: &Value) -> Option<&'a Value> {
    match merge_key(desired) {
        Some(key) => desired.iter().find(|wanted| wanted.get(key) == live.get(key)),
        None => desired.get(index),
    }
}

/// Keys below which strings are quantities.
const QUANTITIES: [&str; 3] = ["limits", "requests", "sizeLimit"];
/// What names a member of a list that Kubernetes merges by key, in the order in which they are tried.
const MERGE_KEYS: [&str; 8] = ["name", "containerPort", "port", "mountPath", "topologyKey", "uid", "ip", "type"];

fn holds(live: &Value, desired: &Value, quantities: bool) -> bool {
    match (live, desired) {
        // What is null or empty need not be there: the API server drops it.
        (_, Value::Null) => true,
        (Value::Object(live), Value::Object(desired)) => desired.iter().all(|(key, wanted)| {
            let quantities = quantities || QUANTITIES.contains(&key.as_str());
            match live.get(key) {
                Some(found) => holds(found, wanted, quantities),
                None => is_empty(wanted),
            }
        }),
        (Value::Array(live), Value::Array(desired)) => all_held(live, desired, quantities),
        (Value::String(live), Value::String(desired)) if quantities => quantity::same(live, desired),
        (live, desired) => live == desired,
    }
}

fn all_held(live: &[Value], desired: &[Value], quantities: bool) -> bool {
    let Some(key) = merge_key(desired) else {
        return live.len() == desired.len() && live.iter().zip(desired).all(|(l, d)| holds(l, d, quantities));
    };
    desired.iter().all(|wanted| {
        let found = live.iter().find(|candidate| candidate.get(key) == wanted.get(key));
        found.is_some_and(|found| holds(found, wanted, quantities))
    })
}

/// The key that tells the members of a list apart; `None` if they are not objects or no key does.
fn merge_key(members: &[Value]) -> Option<&'static str> {
    MERGE_KEYS.into_iter().find(|key| {
        let mut seen: Vec<&Value> = Vec::new();
        !members.is_empty()
            && members.iter().all(|member| match member.get(key) {
                Some(value) if !value.is_object() && !seen.contains(&value) => {
                    seen.push(value);
                    true
                }
                _ => false,
            })
    })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty() || map.values().all(is_empty),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// `value` without what the API server would drop, so that the same wish always has the same hash.
pub fn pruned(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, pruned(v))).collect::<Map<_, _>>(),
        ),
        Value::Array(list) => Value::Array(list.into_iter().map(pruned).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_and_fields_of_others_do_not_matter() {
        let desired = json!({"spec": {"replicas": 2, "paused": null, "template": {"spec": {"volumes": [], "containers": [
            {"name": "registry", "image": "a", "ports": [{"name": "http", "containerPort": 8080}]}]}}}});
        let live = json!({"spec": {"replicas": 2, "progressDeadlineSeconds": 600, "template": {"spec": {"containers": [
            {"name": "sidecar", "image": "x"},
            {"name": "registry", "image": "a", "terminationMessagePath": "/dev/termination-log",
             "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}]}]}}}});
        assert!(covers(&live, &desired));
    }

    #[test]
    fn every_kind_of_edit_is_seen() {
        let desired = json!({"a": {"list": [1, 2], "named": [{"name": "x", "v": 1}], "text": "t", "n": 1}});
        for edited in [
            json!({"a": {"list": [1], "named": [{"name": "x", "v": 1}], "text": "t", "n": 1}}),
            json!({"a": {"list": [1, 2, 3], "named": [{"name": "x", "v": 1}], "text": "t", "n": 1}}),
            json!({"a": {"list": [1, 2], "named": [{"name": "x", "v": 2}], "text": "t", "n": 1}}),
            json!({"a": {"list": [1, 2], "named": [], "text": "t", "n": 1}}),
            json!({"a": {"list": [1, 2], "named": [{"name": "x", "v": 1}], "text": "u", "n": 1}}),
            json!({"a": {"list": [1, 2], "named": [{"name": "x", "v": 1}], "text": "t", "n": 2}}),
            json!({"a": {"list": [1, 2], "named": [{"name": "x", "v": 1}], "n": 1}}),
            json!({}),
        ] {
            assert!(!covers(&edited, &desired), "{edited}");
        }
        assert!(covers(&desired, &desired));
    }

    #[test]
    fn quantities_compare_by_value_and_only_they() {
        assert!(covers(&json!({"limits": {"cpu": "500m"}}), &json!({"limits": {"cpu": "0.5"}})));
        assert!(!covers(&json!({"args": ["1000m"]}), &json!({"args": ["1"]})));
    }

    /// A container as Kubernetes 1.36 holds it, with the fields that it fills in.
    fn held() -> (Value, Value) {
        let desired = json!({"kind": "Deployment", "spec": {"template": {"spec": {
            "securityContext": {"runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "registry", "image": "a", "args": ["serve"],
                "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}, "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                "securityContext": {"capabilities": {"drop": ["ALL"]}}}]}}}});
        let mut live = desired.clone();
        let pod = &mut live["spec"]["template"]["spec"];
        pod["dnsPolicy"] = json!("ClusterFirst");
        pod["serviceAccount"] = json!("company");
        pod["containers"][0]["terminationMessagePath"] = json!("/dev/termination-log");
        pod["containers"][0]["securityContext"]["procMount"] = json!("Default");
        pod["containers"][0]["resources"] = json!({});
        (live, desired)
    }

    #[test]
    fn what_kubernetes_fills_in_is_no_extra() {
        let (live, desired) = held();
        assert!(covers(&live, &desired));
        assert_eq!(extras(&live, &desired), []);
    }

    #[test]
    fn an_extra_names_its_place_in_the_live_object_and_what_belongs_there() {
        let (mut live, desired) = held();
        let pod = &mut live["spec"]["template"]["spec"];
        pod["hostNetwork"] = json!(true);
        pod["containers"].as_array_mut().unwrap().insert(0, json!({"name": "sidecar", "env": [{"name": "A"}]}));
        pod["containers"][1]["securityContext"]["privileged"] = json!(true);
        pod["containers"][1]["ports"][0]["hostPort"] = json!(8080);
        let at =
            |pointer: &str, wanted: Option<Value>| Extra { pointer: format!("/spec/template/spec/{pointer}"), wanted };
        assert_eq!(
            extras(&live, &desired),
            [
                at("containers/1/ports/0/hostPort", None),
                at("containers/1/securityContext", Some(json!({"capabilities": {"drop": ["ALL"]}}))),
                at("hostNetwork", None),
            ]
        );
    }

    #[test]
    fn another_value_is_left_to_apply_and_a_longer_list_is_not() {
        let desired = json!({"kind": "NetworkPolicy", "spec": {"policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": 1}]}]}});
        let mut live = desired.clone();
        live["spec"]["policyTypes"] = json!(["Egress"]);
        assert!(extras(&live, &desired).is_empty() && !covers(&live, &desired));
        live["spec"]["ingress"].as_array_mut().unwrap().push(json!({}));
        assert_eq!(extras(&live, &desired)[0].pointer, "/spec/ingress");
    }

    #[test]
    fn an_empty_selector_beside_ours_selects_more() {
        let desired = json!({"kind": "NetworkPolicy", "spec": {"ingress": [{"from": [{"podSelector": {"matchLabels": {"a": "b"}}}]}]}});
        let mut live = desired.clone();
        live["spec"]["ingress"][0]["from"][0]["namespaceSelector"] = json!({});
        assert_eq!(extras(&live, &desired).len(), 1, "pods of that label in every namespace");
    }

    #[test]
    fn the_same_names_elsewhere_are_free() {
        let desired =
            json!({"kind": "Deployment", "metadata": {"labels": {"a": "b"}}, "spec": {"template": {"spec": {}}}});
        let mut live = desired.clone();
        live["metadata"]["labels"]["env"] = json!("production");
        live["spec"]["selector"] = json!({"matchLabels": {"a": "b"}});
        assert_eq!(extras(&live, &desired), []);
    }

    #[test]
    fn an_empty_selector_is_there_when_it_is_absent() {
        assert!(covers(&json!({"podSelector": {}}), &json!({"podSelector": {}, "egress": []})));
    }
}
