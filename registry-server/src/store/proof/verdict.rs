//! What the proof found, for a log line, `/readyz` and an exit status.

use serde::Serialize;

use super::Failed;
use crate::store::StoreErrorKind;

/// The result of a proof. Serialises to the JSON that `/readyz` shows: `{"verdict":"Refused","step":"race","message":"…","steps":[…]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether the store may be used.
    #[serde(rename = "verdict")]
    pub kind: VerdictKind,
    /// The step that failed, or that is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<&'static str>,
    /// One or two sentences for a person: what was found, what to do.
    pub message: String,
    /// Every step that was begun, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepReport>,
}

/// Whether the store may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum VerdictKind {
    /// The proof is under way.
    Proving,
    /// The store keeps its promises, as far as they can be tested.
    Proven,
    /// The store does not. It must not be written to; trying again will not help.
    Refused,
    /// The store could not be asked: no connection, no bucket, no rights, too slow. Try again later.
    Unreachable,
}

/// One step of the proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepReport {
    /// Its name: see [`super`].
    pub step: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// What is worth knowing about it, for a person; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// As it should.
    Passed,
    /// The store broke a promise.
    Failed,
    /// The store could not be asked.
    Unreachable,
    /// The step makes no sense for this kind of store.
    NotApplicable,
}

impl Verdict {
    /// The verdict while there is none.
    pub fn proving() -> Self {
        Self {
            kind: VerdictKind::Proving,
            step: None,
            message: "the store is being tested".to_owned(),
            steps: Vec::new(),
        }
    }

    pub(super) fn proven(location: &str, steps: Vec<StepReport>) -> Self {
        let message = format!("{location} keeps the promises that the registry rests on");
        Self { kind: VerdictKind::Proven, step: None, message, steps }
    }

    pub(super) fn failed(step: &'static str, failed: Failed, location: &str, steps: Vec<StepReport>) -> Self {
        let (kind, message) = match failed {
            Failed::Broken(what) => (
                VerdictKind::Refused,
                format!(
                    "{location} cannot hold a registry, published crates would be lost: {what}. Use a store whose conditional writes are atomic"
                ),
            ),
            Failed::Unreachable(err) => (VerdictKind::Unreachable, format!("{err}. {}", advice(err.kind()))),
        };
        Self { kind, step: Some(step), message, steps }
    }

    /// Whether the store may be used.
    pub fn is_proven(&self) -> bool {
        self.kind == VerdictKind::Proven
    }
}

fn advice(kind: StoreErrorKind) -> &'static str {
    match kind {
        StoreErrorKind::Denied => {
            "Check the credentials, and that they may do s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket there"
        }
        StoreErrorKind::NoBucket => "Create the bucket, or correct its name, region or endpoint",
        StoreErrorKind::Throttled => "It is tried again",
        _ => "Check the endpoint, the network and the store's own health; it is tried again",
    }
}
