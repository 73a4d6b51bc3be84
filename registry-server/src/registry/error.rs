//! Why the registry did not do what it was asked, in words that decide the status code and are shown to a user as they are.
//! What the store or the inside said stays in the log.

use crate::store::{StoreError, StoreErrorKind};

/// A refusal or a failure. `Display` is the text for the user.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    /// The request needs a token and carried none, or one that does not hold.
    #[error("{text}")]
    Unauthenticated {
        /// Whether there was a token.
        had_token: bool,
        /// What is wrong with it, and what to do.
        text: String,
    },
    /// The token holds, but not for this.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such thing, or it is hidden from this token.
    #[error("{0}")]
    NotFound(String),
    /// The request is wrong; the text says where and what to do.
    #[error("{0}")]
    Invalid(String),
    /// Something is above its limit.
    #[error("{0}")]
    TooLarge(String),
    /// The request did not arrive in time.
    #[error("{0}")]
    TooSlow(&'static str),
    /// The request contradicts what is stored.
    #[error("{0}")]
    Conflict(String),
    /// Others kept changing the same thing. Nothing was written.
    #[error("{what} was changed by others again and again; nothing was written, repeat the command")]
    Contended {
        /// What was to be changed, as the beginning of a sentence.
        what: String,
    },
    /// The store did not say whether the change was stored.
    #[error("the store did not answer whether the change to {what} was stored; repeat the command, which is safe")]
    Unclear {
        /// What was to be changed.
        what: String,
        /// What the store said last; for the log.
        cause: StoreError,
    },
    /// The store has not shown yet that it keeps its promises.
    #[error("the registry is not ready: {0}")]
    NotReady(String),
    /// There is no room for this request now.
    #[error("{0}")]
    Busy(&'static str),
    /// The store failed.
    #[error("{}", store_text(.0))]
    Store(#[from] StoreError),
    /// Something stored cannot be read; harms what it is about and nothing else.
    #[error(
        "what is stored about {what} cannot be read; nothing was changed, and those who run this registry find the reason in its log"
    )]
    Broken {
        /// What it is about.
        what: String,
        /// Why, for the log.
        reason: String,
    },
    /// The server failed by itself, such as a full temporary directory.
    #[error("{text}; those who run this registry find the reason in its log")]
    Internal {
        /// For the user.
        text: &'static str,
        /// For the log.
        reason: String,
    },
}

fn store_text(error: &StoreError) -> &'static str {
    match error.kind() {
        StoreErrorKind::Unavailable => {
            "the registry cannot reach its storage right now; repeat the command in a moment"
        }
        StoreErrorKind::Throttled => "the registry's storage asks for fewer requests; repeat the command in a moment",
        StoreErrorKind::Denied | StoreErrorKind::NoBucket | StoreErrorKind::Rejected => {
            "the registry's storage refuses the registry; those who run it find the reason in its log"
        }
        StoreErrorKind::Corrupt | StoreErrorKind::TooLarge => {
            "what is stored cannot be read; those who run this registry find the reason in its log"
        }
    }
}

impl RegistryError {
    /// What the log has to say beyond the text for the user.
    pub fn cause(&self) -> Option<String> {
        match self {
            Self::Unclear { cause, .. } => Some(cause.to_string()),
            Self::Store(error) => Some(error.to_string()),
            Self::Broken { reason, .. } | Self::Internal { reason, .. } => Some(reason.clone()),
            _ => None,
        }
    }

    /// A closed set of words, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unauthenticated { .. } => "unauthenticated",
            Self::Forbidden(_) => "forbidden",
            Self::NotFound(_) => "not_found",
            Self::Invalid(_) => "invalid",
            Self::TooLarge(_) => "too_large",
            Self::TooSlow(_) => "too_slow",
            Self::Conflict(_) => "conflict",
            Self::Contended { .. } => "contended",
            Self::Unclear { .. } => "unclear",
            Self::NotReady(_) => "not_ready",
            Self::Busy(_) => "busy",
            Self::Store(error) => error.kind().label(),
            Self::Broken { .. } => "broken",
            Self::Internal { .. } => "internal",
        }
    }
}
