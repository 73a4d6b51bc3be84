//! Whether the live object already is what we would apply, so that an unchanged pass sends no write.
//!
//! The API server adds defaults and other writers add fields of their own, so equality is the wrong question: `live` has to
//! hold all that `desired` says. What we said before and say no longer is not seen here; the hash annotation sees that
//! ([`crate::names::MANIFEST_HASH`]).

use serde_json::{Map, Value};

use super::quantity;

/// Whether `live` holds all of `desired`. Lists whose members have a name (containers, ports, volumes, environment) may hold
/// further members, as server-side apply merges them; other lists have to be equal member by member.
pub fn covers(live: &Value, desired: &Value) -> bool {
    holds(live, desired, false)
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

    #[test]
    fn an_empty_selector_is_there_when_it_is_absent() {
        assert!(covers(&json!({"podSelector": {}}), &json!({"podSelector": {}, "egress": []})));
    }
}
