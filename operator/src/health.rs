//! What the controllers know about their watches, for `/readyz`: has each one listed its objects, and is its CRD there?

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// State of each controller's main watch. All methods may be called from any task.
#[derive(Debug, Default)]
pub struct Health {
    controllers: Mutex<BTreeMap<&'static str, State>>,
}

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
    pub fn expect(&self, controller: &'static str) {
        self.lock().entry(controller).or_insert(State::Starting);
    }

    /// The main watch delivered something.
    pub fn watching(&self, controller: &'static str) {
        self.lock().insert(controller, State::Watching);
    }

    /// The API server does not know the controller's kind.
    pub fn crd_missing(&self, controller: &'static str) {
        self.lock().insert(controller, State::CrdMissing);
    }

    /// `Ok` when every controller has listed its objects; otherwise one sentence per controller that has not.
    pub fn ready(&self) -> Result<(), Vec<String>> {
        let reasons: Vec<_> = self
            .lock()
            .iter()
            .filter_map(|(name, state)| match state {
                State::Watching => None,
                State::Starting => Some(format!("controller {name} has not listed its objects yet")),
                State::CrdMissing => Some(format!(
                    "controller {name}: its CustomResourceDefinition is not installed; install the chart supercargo-crds"
                )),
            })
            .collect();
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, State>> {
        self.controllers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_all_watch_and_names_the_missing_crd() {
        let health = Health::default();
        health.expect("a");
        health.expect("b");
        health.watching("a");
        assert_eq!(health.ready().unwrap_err().len(), 1);
        health.crd_missing("b");
        let reasons = health.ready().unwrap_err();
        assert!(reasons[0].contains("controller b") && reasons[0].contains("supercargo-crds"), "{reasons:?}");
        health.watching("b");
        assert_eq!(health.ready(), Ok(()));
    }

    #[test]
    fn announcing_again_does_not_forget() {
        let health = Health::default();
        health.watching("a");
        health.expect("a");
        assert_eq!(health.ready(), Ok(()));
    }
}
