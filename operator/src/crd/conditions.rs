//! Status conditions: their types, and the one way to write them.
//!
//! Source: Kubernetes API conventions, "Typical status properties": conditions are a map keyed by `type`, `reason` is a
//! CamelCase word for programs, `message` a sentence for people, `lastTransitionTime` moves only when `status` does,
//! and `observedGeneration` says which spec the condition speaks of.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The registry answers Cargo: at least one replica is available. The one summary condition.
pub const READY: &str = "Ready";
/// The operator or Kubernetes is still moving the object towards its spec.
pub const PROGRESSING: &str = "Progressing";
/// Something is wrong that does not mend itself, or fewer replicas run than were asked for.
pub const DEGRADED: &str = "Degraded";
/// A running registry has proven that its store honours conditional writes, on which every guarantee rests.
pub const CONDITIONAL_WRITES: &str = "ConditionalWrites";

/// The last check of the store left nothing to mend.
pub const STORE_SOUND: &str = "StoreSound";

/// A condition's `status`, which Kubernetes spells as a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// `True`
    True,
    /// `False`
    False,
    /// `Unknown`: not looked yet, or could not look.
    Unknown,
}

impl Truth {
    /// The word that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Truth::True => "True",
            Truth::False => "False",
            Truth::Unknown => "Unknown",
        }
    }
}

/// What a pass has to say about one aspect, before it is merged into the object's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The condition's type, e.g. [`READY`].
    pub type_: &'static str,
    /// True, False or Unknown.
    pub truth: Truth,
    /// CamelCase word; never empty (the API refuses an empty one).
    pub reason: &'static str,
    /// A sentence that says what, where and what to do. Must hold no Secret's value.
    pub message: String,
}

impl Finding {
    /// A finding with its four parts.
    pub fn new(type_: &'static str, truth: Truth, reason: &'static str, message: impl Into<String>) -> Finding {
        Finding { type_, truth, reason, message: message.into() }
    }
}

/// Kubernetes refuses a condition message longer than this many bytes.
const MESSAGE_BYTES_MAX: usize = 32_768;

/// Merges `finding` into `conditions`, which stays sorted by type.
///
/// `lastTransitionTime` is kept unless the status changed, so a pass that finds what the last one found leaves the list
/// equal, byte for byte. Returns whether the *status* of this condition changed (worth an event).
pub fn set(conditions: &mut Vec<Condition>, finding: Finding, now: Timestamp, generation: i64) -> bool {
    let mut message = finding.message;
    truncate(&mut message, MESSAGE_BYTES_MAX);
    let mut fresh = Condition {
        type_: finding.type_.to_owned(),
        status: finding.truth.as_str().to_owned(),
        reason: finding.reason.to_owned(),
        message,
        observed_generation: Some(generation),
        last_transition_time: Time(whole_second(now)),
    };
    match conditions.iter_mut().find(|c| c.type_ == finding.type_) {
        Some(old) => {
            let moved = old.status != fresh.status;
            if !moved {
                fresh.last_transition_time = old.last_transition_time.clone();
            }
            *old = fresh;
            moved
        }
        None => {
            conditions.push(fresh);
            conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
            true
        }
    }
}

/// The condition of this type, if there is one.
pub fn get<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == type_)
}

/// Whether the condition of this type exists and is `True`.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    get(conditions, type_).is_some_and(|c| c.status == Truth::True.as_str())
}

/// Removes the conditions of the types given: aspects the spec no longer asks for.
pub fn forget(conditions: &mut Vec<Condition>, types: &[&str]) {
    conditions.retain(|c| !types.contains(&c.type_.as_str()));
}

/// `metav1.Time` carries whole seconds; what is written must equal what is read back.
pub fn whole_second(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).expect("a timestamp's own whole second is in range")
}

fn truncate(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        let end = (0..=bytes_max).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn transition_time_moves_only_with_status() {
        let mut list = Vec::new();
        assert!(set(&mut list, Finding::new(READY, Truth::False, "RollingOut", "0 of 2"), at(10), 1));
        assert!(!set(&mut list, Finding::new(READY, Truth::False, "RollingOut", "1 of 2"), at(20), 2));
        assert_eq!(list[0].last_transition_time.0, at(10));
        assert_eq!(list[0].observed_generation, Some(2));
        assert!(set(&mut list, Finding::new(READY, Truth::True, "Serving", ""), at(30), 2));
        assert_eq!(list[0].last_transition_time.0, at(30));
    }

    #[test]
    fn the_same_finding_leaves_the_list_equal() {
        let mut list = Vec::new();
        set(&mut list, Finding::new(READY, Truth::True, "Serving", "m"), at(10), 1);
        set(&mut list, Finding::new(DEGRADED, Truth::False, "AsExpected", ""), at(10), 1);
        let before = list.clone();
        set(&mut list, Finding::new(READY, Truth::True, "Serving", "m"), at(99), 1);
        assert_eq!(list, before);
        assert_eq!(list[0].type_, DEGRADED, "sorted by type");
    }

    #[test]
    fn a_message_is_cut_to_what_the_api_takes() {
        let mut list = Vec::new();
        set(&mut list, Finding::new(READY, Truth::True, "Serving", "ä".repeat(MESSAGE_BYTES_MAX)), at(1), 1);
        assert!(list[0].message.len() <= MESSAGE_BYTES_MAX);
    }

    #[test]
    fn what_is_not_asked_for_is_forgotten() {
        let mut list = Vec::new();
        set(&mut list, Finding::new(READY, Truth::True, "Serving", ""), at(1), 1);
        forget(&mut list, &[READY]);
        assert!(get(&list, READY).is_none() && !is_true(&list, READY));
    }
}
