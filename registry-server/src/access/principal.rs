//! Who is asking.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Grant, TokenHash, TokenRecord, Verb};
use crate::krate::{Canonical, Owner};

/// Who is asking, as far as the request shows. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// No token was sent.
    Anonymous,
    /// A token that the registry knows. Whether it is still good is part of the decision.
    Token(Arc<TokenPrincipal>),
}

/// The bearer of a known token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPrincipal {
    /// Which token, for logs: its hash says nothing of it.
    pub hash: TokenHash,
    /// The user it stands for.
    pub user: Owner,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl TokenPrincipal {
    /// Whether it has this verb on this crate.
    #[must_use]
    pub fn holds(&self, verb: Verb, krate: &Canonical) -> bool {
        self.grants.iter().any(|grant| grant.allows(verb, krate))
    }
}

impl Principal {
    /// The bearer of the token with this record.
    #[must_use]
    pub fn of_token(hash: TokenHash, record: &TokenRecord) -> Self {
        let TokenRecord { user, grants, expires_at, revoked_at, .. } = record.clone();
        Self::Token(Arc::new(TokenPrincipal { hash, user, grants, expires_at, revoked_at }))
    }

    /// The user, if there is one.
    #[must_use]
    pub fn user(&self) -> Option<&Owner> {
        match self {
            Self::Anonymous => None,
            Self::Token(token) => Some(&token.user),
        }
    }
}
