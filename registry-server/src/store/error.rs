//! Why a store did not do what it was asked, in words that say what the caller does next.

use std::fmt;

/// What the caller does next. The words are closed: they label metrics and decide status codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
pub enum StoreErrorKind {
    /// No answer, a broken answer or a server error. Trying later may help; readers answer 503.
    Unavailable,
    /// The store asks for fewer requests (429, or `SlowDown`). Wait with jitter, then try again.
    Throttled,
    /// The credentials are missing, wrong, expired, or lack a right. An operator has to act.
    Denied,
    /// The bucket (or the directory) does not exist, or lies in another region. An operator has to act.
    NoBucket,
    /// The store refused the request itself (another 4xx, 501): it lacks something that this program needs.
    Rejected,
    /// The bytes are not those that were stored: wrong length or digest. Repeating may help once; after that a person has to look.
    Corrupt,
    /// The object is longer than the caller's limit. Nothing was read beyond it.
    TooLarge,
}

impl StoreErrorKind {
    /// A short, stable word for metric labels.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Throttled => "throttled",
            Self::Denied => "denied",
            Self::NoBucket => "no_bucket",
            Self::Rejected => "rejected",
            Self::Corrupt => "corrupt",
            Self::TooLarge => "too_large",
        }
    }

    /// Whether the same request may succeed later without anybody changing anything.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Unavailable | Self::Throttled)
    }
}

/// A failed store operation: the kind, and one sentence with what the store answered (status, error code, request id,
/// bucket, endpoint). The sentence is for logs and for operators; it never holds a credential, and never goes to a Cargo user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
}

impl StoreError {
    /// An error of `kind`; `message` is a sentence without a secret in it.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What the caller does next.
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// What happened, for the log.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StoreError {}
