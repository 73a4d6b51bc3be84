//! What the bucket keeps of a token, under its hash: `v1/token/{h2}/{sha256}`, one line of JSON.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Grant;
use crate::krate::Owner;
use crate::krate::record::OpId;

/// Longest description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 1024;
/// Most grants of one token, and most patterns of one grant.
pub const GRANTS_MAX: usize = 256;
/// How many of the last changes a token's record keeps.
pub const TOKEN_OPS_MAX: usize = 16;
/// A stored record is not read beyond this, in bytes.
pub const TOKEN_RECORD_BYTES_MAX: usize = 1024 * 1024;

/// What a token is to be: the body of `PUT /admin/v1/tokens/{sha256}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// The user it stands for.
    pub user: Owner,
    /// Where it comes from, for people.
    #[serde(default)]
    pub description: String,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// When it ends; `None`: never.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

impl NewToken {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`NewTokenError`]: the description or the list of grants is too long, or nothing is granted.
    pub fn check(&self) -> Result<(), NewTokenError> {
        if self.description.len() > DESCRIPTION_BYTES_MAX {
            return Err(NewTokenError::Description { bytes: self.description.len() });
        }
        if self.grants.iter().all(|grant| grant.verbs.is_empty() || grant.crates.is_empty()) {
            return Err(NewTokenError::NoGrant);
        }
        let longest = self.grants.iter().map(|grant| grant.crates.len()).max().unwrap_or(0);
        if self.grants.len().max(longest) > GRANTS_MAX {
            return Err(NewTokenError::TooMany { count: self.grants.len().max(longest) });
        }
        Ok(())
    }
}

/// Why a token cannot be made so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NewTokenError {
    /// Longer than [`DESCRIPTION_BYTES_MAX`].
    #[error("the description is {bytes} bytes long: at most {DESCRIPTION_BYTES_MAX} are allowed")]
    Description {
        /// Its length.
        bytes: usize,
    },
    /// It could do nothing.
    #[error("`grants` gives no verb on any crate: the token could do nothing")]
    NoGrant,
    /// More than [`GRANTS_MAX`].
    #[error("{count} grants, or patterns in one grant, are too many: at most {GRANTS_MAX} are allowed")]
    TooMany {
        /// How many.
        count: usize,
    },
}

/// The stored record. Fields that this version does not know are kept when it is rewritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Identity of the last change; first, so that no two states have the same bytes.
    pub op: OpId,
    /// Number of the last change, from 1; 0 under the mark of a token that is not there yet.
    pub rev: u64,
    /// The identity of a write that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<OpId>,
    /// Under a mark, and after one was swept: the identity of the last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    over: Option<OpId>,
    /// The user it stands for.
    pub user: Owner,
    /// Where it comes from, for people.
    pub description: String,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked; then for ever.
    pub revoked_at: Option<Timestamp>,
    /// The last [`TOKEN_OPS_MAX`] changes, oldest first. Those of programs that did not keep them are not among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ops: Vec<TokenOp>,
    /// Fields of a later version.
    #[serde(flatten)]
    extra: Map<String, Value>,
}

/// One of the last changes of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenOp {
    /// Its identity.
    pub op: OpId,
    /// What it did.
    pub kind: TokenOpKind,
    /// When.
    pub at: Timestamp,
    /// The `rev` that it made.
    pub rev: u64,
}

/// What a change of a token did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenOpKind {
    /// It was made.
    TokenCreate,
    /// It got other content.
    TokenUpdate,
    /// It was revoked.
    TokenRevoke,
    /// Something that a later version does.
    #[serde(untagged)]
    Other(String),
}

impl TokenRecord {
    /// The first state of a token.
    #[must_use]
    pub fn new(op: OpId, token: NewToken, now: Timestamp) -> Self {
        let NewToken { user, description, grants, expires_at } = token;
        let (mark, over, revoked_at, extra) = (None, None, None, Map::new());
        let ops = vec![TokenOp { op: op.clone(), kind: TokenOpKind::TokenCreate, at: now, rev: 1 }];
        Self { op, rev: 1, mark, over, user, description, grants, created_at: now, expires_at, revoked_at, ops, extra }
    }

    /// The same state, under a mark: a write is under way, and nobody may keep this state in memory. `mark` is fresh for every marking.
    #[must_use]
    pub fn marked(&self, mark: OpId) -> Self {
        let over = self.over.clone().or_else(|| Some(self.op.clone()));
        Self { op: mark.clone(), mark: Some(mark), over, ..self.clone() }
    }

    /// A mark for a token that is not there yet; it reads as missing, and no change was made to it.
    #[must_use]
    pub fn reservation(&self, mark: OpId) -> Self {
        Self { rev: 0, over: None, ops: Vec::new(), ..self.marked(mark) }
    }

    /// The same state as one more `rev`, without the mark that a dead writer left: the writer has announced that `rev`, and nobody keeps an
    /// older state in memory.
    ///
    /// # Panics
    /// For a token that is not there yet: without its mark it would be.
    #[must_use]
    pub fn swept(&self, op: OpId) -> Self {
        assert!(self.rev > 0, "a mark without a token is left to whoever makes the token");
        Self { op, rev: self.rev + 1, mark: None, ..self.clone() }
    }

    /// Reads a stored record.
    ///
    /// # Errors
    /// It is corrupt, or was written by a version whose grants this one does not understand; then it gives nothing.
    pub fn parse(bytes: &[u8]) -> Result<Self, TokenRecordError> {
        if bytes.len() > TOKEN_RECORD_BYTES_MAX {
            return Err(TokenRecordError::TooLong { bytes: bytes.len() });
        }
        let record: Self = serde_json::from_slice(bytes).map_err(|error| TokenRecordError::Json(error.to_string()))?;
        if record.rev == 0 && record.mark.is_none() {
            return Err(TokenRecordError::Rev);
        }
        Ok(record)
    }

    /// The bytes to store: one line of JSON.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("a token record has string keys only");
        bytes.push(b'\n');
        assert_eq!(Self::parse(&bytes).as_ref(), Ok(self), "what is written reads back");
        bytes
    }

    /// Whether this change was among the last ones.
    #[must_use]
    pub fn contains(&self, op: &OpId) -> bool {
        self.op == *op || self.over.as_ref() == Some(op) || self.ops.iter().any(|done| done.op == *op)
    }

    /// Whether a `PUT` with this content would change nothing.
    #[must_use]
    pub fn is(&self, token: &NewToken) -> bool {
        let NewToken { user, description, grants, expires_at } = token;
        self.user == *user
            && self.description == *description
            && self.expires_at == *expires_at
            && self.grants.len() == grants.len()
            && self.grants.iter().zip(grants).all(|(mine, theirs)| {
                let set = |grant: &Grant| grant.crates.iter().map(|p| p.as_str().to_owned()).collect::<BTreeSet<_>>();
                mine.verbs == theirs.verbs && set(mine) == set(theirs)
            })
    }

    /// Gives it new content. Whether anything changed.
    ///
    /// # Errors
    /// It is revoked, which is for ever.
    pub fn update(&mut self, op: OpId, token: NewToken, now: Timestamp) -> Result<bool, RevokedError> {
        if let Some(at) = self.revoked_at {
            return Err(RevokedError { at });
        }
        if self.is(&token) {
            return Ok(false);
        }
        NewToken { user: self.user, description: self.description, grants: self.grants, expires_at: self.expires_at } =
            token;
        self.advance(op, TokenOpKind::TokenUpdate, now);
        Ok(true)
    }

    /// Revokes it. Whether anything changed: it may have been revoked before.
    pub fn revoke(&mut self, op: OpId, now: Timestamp) -> bool {
        if self.revoked_at.is_some() {
            return false;
        }
        self.revoked_at = Some(now);
        self.advance(op, TokenOpKind::TokenRevoke, now);
        true
    }

    fn advance(&mut self, op: OpId, kind: TokenOpKind, at: Timestamp) {
        assert_ne!(self.op, op, "every change has an identity of its own");
        self.op = op.clone();
        // Whoever left a mark is overtaken by this write.
        self.mark = None;
        self.over = None;
        self.rev += 1;
        let surplus = (self.ops.len() + 1).saturating_sub(TOKEN_OPS_MAX);
        self.ops.drain(..surplus);
        self.ops.push(TokenOp { op, kind, at, rev: self.rev });
    }
}

/// A revoked token stays so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token was revoked at {at} and stays so: make a new one")]
pub struct RevokedError {
    /// When.
    pub at: Timestamp,
}

/// A stored token record is not readable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRecordError {
    /// Larger than [`TOKEN_RECORD_BYTES_MAX`].
    #[error("the token record is {bytes} bytes long")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not JSON of this form.
    #[error("the token record is not readable: {0}")]
    Json(String),
    /// `rev` counts from 1.
    #[error("the token record has `rev` 0")]
    Rev,
}

#[cfg(test)]
mod tests;
