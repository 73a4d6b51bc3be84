//! The one error of a reconcile. What a user has to mend is not an error but a condition; this is for what stopped a
//! pass short and is worth trying again.

use std::time::Duration;

/// Why a pass did not reach its end. Its text may go into logs, events and conditions: no variant carries a Secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request to the Kubernetes API failed.
    #[error("cannot {action}: {}", kube_reason(.source))]
    Kube {
        /// What was being done, as an infinitive: `apply Deployment demo/company`.
        action: String,
        /// What the client says.
        source: Box<kube::Error>,
    },
    /// Two writers met; the next pass sees the other's write.
    #[error("{object} was changed by someone else meanwhile; trying again")]
    Conflict {
        /// `Kind namespace/name`.
        object: String,
    },
    /// The registry's internal listener did not answer, or not as agreed.
    #[error("registry {registry}: {message}")]
    RegistryApi {
        /// `namespace/name`.
        registry: String,
        /// What went wrong.
        message: String,
    },
    /// The pass took longer than it may.
    #[error("gave up after {} s; the last step did not return", .0.as_secs())]
    Deadline(Duration),
    /// The pass panicked: a defect of the operator, worth a report.
    #[error("the operator panicked in this pass: {0}")]
    Panic(String),
    /// A certificate could not be issued, an object not serialised: a defect of the operator.
    #[error("{action}: {message}")]
    Internal {
        /// What was being done.
        action: &'static str,
        /// What went wrong.
        message: String,
    },
}

impl Error {
    /// Wraps a failed request. `action` is an infinitive with its object: `apply Deployment demo/company`.
    pub fn kube(action: impl Into<String>, source: kube::Error) -> Error {
        Error::Kube { action: action.into(), source: Box::new(source) }
    }

    /// The `error` label of metrics: a closed set of words, never an object's name.
    pub fn label(&self) -> &'static str {
        match self {
            Error::Kube { source, .. } => match source.as_ref() {
                kube::Error::Api(s) if s.is_forbidden() => "forbidden",
                kube::Error::Api(s) if s.is_conflict() => "conflict",
                kube::Error::Api(s) if s.is_not_found() => "not_found",
                kube::Error::Api(s) if s.code == 422 => "invalid",
                kube::Error::Api(_) => "api",
                _ => "transport",
            },
            Error::Conflict { .. } => "conflict",
            Error::RegistryApi { .. } => "registry_api",
            Error::Deadline(_) => "deadline",
            Error::Panic(_) => "panic",
            Error::Internal { .. } => "internal",
        }
    }

    /// The condition reason that tells a user what kind of trouble this is.
    pub fn reason(&self) -> &'static str {
        match self.label() {
            "forbidden" => "Forbidden",
            "conflict" => "Conflict",
            "not_found" => "NotFound",
            "invalid" => "Invalid",
            "api" | "transport" => "ApiServerError",
            "registry_api" => "RegistryUnreachable",
            "deadline" => "DeadlineExceeded",
            "panic" => "Panicked",
            _ => "InternalError",
        }
    }

    /// Whether someone else wrote first, so that trying again soon is right and nobody need be told.
    pub fn is_conflict(&self) -> bool {
        self.label() == "conflict"
    }
}

/// The API server's own words without the client's wrapping.
fn kube_reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({} {})", status.message, status.code, status.reason),
        other => {
            let mut text = other.to_string();
            let mut cause = std::error::Error::source(other);
            while let Some(inner) = cause {
                let inner_text = inner.to_string();
                if !text.contains(&inner_text) {
                    text = format!("{text}: {inner_text}");
                }
                cause = inner.source();
            }
            text
        }
    }
}

/// Outcome of a pass or of a part of it.
pub type Result<T, E = Error> = std::result::Result<T, E>;
