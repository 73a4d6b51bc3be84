//! Every right that this program needs, with its reason. The chart grants exactly these (`charts/supercargo/templates/_rules.tpl`, held
//! equal by a test), and `supercargo-operator check` asks the API server for each.

/// Verbs on some resources of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// API group; empty is the core group.
    pub group: &'static str,
    /// Resources, with a subresource behind a slash.
    pub resources: &'static [&'static str],
    /// What is done with them.
    pub verbs: &'static [&'static str],
    /// Why.
    pub reason: &'static str,
}

const fn right(
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
    reason: &'static str,
) -> Right {
    Right { group, resources, verbs, reason }
}

const KEPT: &[&str] = &["get", "list", "watch", "create", "patch"];
const KEPT_OR_DELETED: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];

/// All of them.
pub const RIGHTS: &[Right] = &[
    right(
        "supercargo.dev",
        &["cargoregistries", "cargotokens"],
        &["get", "list", "watch", "patch"],
        "the wish; patch for finalizers",
    ),
    right(
        "supercargo.dev",
        &["cargoregistries/status", "cargotokens/status"],
        &["patch"],
        "conditions and what was seen",
    ),
    right(
        "supercargo.dev",
        &["cargoregistries/finalizers", "cargotokens/finalizers"],
        &["update"],
        "children name their owner with blockOwnerDeletion",
    ),
    right("", &["configmaps", "services"], KEPT, "children of a registry"),
    right("", &["serviceaccounts"], KEPT_OR_DELETED, "the account of its pods"),
    right(
        "",
        &["secrets"],
        &["get", "create", "patch"],
        "credentials, internal Secrets, Secrets of tokens; by name only",
    ),
    right("", &["persistentvolumeclaims"], KEPT, "the volume of a registry without object storage; never deleted"),
    right("", &["pods"], &["list"], "why a pod does not start"),
    right("apps", &["deployments"], KEPT, "the pods of a registry"),
    right("batch", &["cronjobs"], KEPT, "the check of a registry's bucket, and its garbage collection"),
    right("batch", &["jobs"], &["list"], "why the last check of a bucket did not succeed"),
    right("policy", &["poddisruptionbudgets"], KEPT_OR_DELETED, "a drain takes one replica at a time"),
    right("networking.k8s.io", &["networkpolicies"], KEPT, "who may reach a registry's internal port"),
    right("events.k8s.io", &["events"], &["create", "patch"], "what happened, for kubectl describe"),
];

#[cfg(test)]
mod tests {
    use super::*;

    type Granted = Vec<(Vec<String>, Vec<String>, Vec<String>)>;

    fn chart() -> Granted {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/supercargo/templates/_rules.tpl"));
        let (_, rules) = text.split_once("\"supercargo.rules\" -}}").expect("the template of the rules");
        let (rules, _) = rules.split_once("{{- end }}").expect("its end");
        let rules: Vec<serde_json::Value> =
            serde_saphyr::from_str(rules).expect("the rules are YAML without templates");
        let list =
            |value: &serde_json::Value| -> Vec<String> { serde_json::from_value(value.clone()).expect("a list") };
        rules.iter().map(|rule| (list(&rule["apiGroups"]), list(&rule["resources"]), list(&rule["verbs"]))).collect()
    }

    #[test]
    fn the_chart_grants_what_is_needed_and_nothing_else() {
        let needed: Granted = RIGHTS
            .iter()
            .map(|r| {
                let list = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
                (vec![r.group.to_owned()], list(r.resources), list(r.verbs))
            })
            .collect();
        assert_eq!(chart(), needed);
    }

    #[test]
    fn no_wildcard_no_list_of_secrets_and_a_reason_for_each() {
        for right in RIGHTS {
            assert!(
                !right.reason.is_empty() && !right.verbs.contains(&"*") && !right.resources.contains(&"*"),
                "{right:?}"
            );
            if right.resources.contains(&"secrets") {
                assert!(
                    !right.verbs.contains(&"list")
                        && !right.verbs.contains(&"watch")
                        && !right.verbs.contains(&"delete")
                );
            }
        }
    }
}
