//! What the controllers know about their watches, for `/readyz`: has each one listed its objects, and is its CRD there?

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// State of each controller's main watches, one per scope: a namespace, or `None` for the cluster. All methods may be called from any task.
#[derive(Debug, Default)]
pub struct Health {
    controllers: Mutex<BTreeMap<Key, State>>,
}

/// Controller and scope.
type Key = (&'static str, Option<String>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Has not listed its objects yet.
    Starting,
    /// Has listed its objects at least once.
    Watching,
    /// The API server does not know the kind.
    CrdMissing,
}

impl Health {
    /// Announces a controller: until its first list it is not ready.
    pub fn expect(&self, controller: &'static str, scope: Option<&str>) {
        self.lock().entry((controller, scope.map(str::to_owned))).or_insert(State::Starting);
    }

    /// The main watch delivered something.
    pub fn watching(&self, controller: &'static str, scope: Option<&str>) {
        self.lock().insert((controller, scope.map(str::to_owned)), State::Watching);
    }

    /// The API server does not know the controller's kind.
    pub fn crd_missing(&self, controller: &'static str, scope: Option<&str>) {
        self.lock().insert((controller, scope.map(str::to_owned)), State::CrdMissing);
    }

    /// `Ok` when every controller has listed its objects in every scope; otherwise one sentence per list that is missing.
    pub fn ready(&self) -> Result<(), Vec<String>> {
        let reasons: Vec<_> = self
            .lock()
            .iter()
            .filter_map(|((name, scope), state)| match state {
                State::Watching => None,
                State::Starting => Some(format!("controller {name} has not listed its objects{} yet", place(scope))),
                State::CrdMissing => Some(format!(
                    "controller {name}{}: its CustomResourceDefinition is not installed; install the chart supercargo-crds",
                    place(scope)
                )),
            })
            .collect();
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, State>> {
        self.controllers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(scope: &Option<String>) -> String {
    scope.as_ref().map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_all_watch_and_names_the_missing_crd() {
        let health = Health::default();
        health.expect("a", None);
        health.expect("b", None);
        health.watching("a", None);
        assert_eq!(health.ready().unwrap_err().len(), 1);
        health.crd_missing("b", None);
        let reasons = health.ready().unwrap_err();
        assert!(reasons[0].contains("controller b") && reasons[0].contains("supercargo-crds"), "{reasons:?}");
        health.watching("b", None);
        assert_eq!(health.ready(), Ok(()));
    }

    #[test]
    fn announcing_again_does_not_forget() {
        let health = Health::default();
        health.watching("a", None);
        health.expect("a", None);
        assert_eq!(health.ready(), Ok(()));
    }

    #[test]
    fn each_namespace_has_to_be_listed() {
        let health = Health::default();
        health.expect("a", Some("one"));
        health.expect("a", Some("two"));
        health.watching("a", Some("one"));
        let reasons = health.ready().unwrap_err();
        assert!(reasons.len() == 1 && reasons[0].contains("namespace two"), "{reasons:?}");
        health.watching("a", Some("two"));
        assert_eq!(health.ready(), Ok(()));
    }
}
