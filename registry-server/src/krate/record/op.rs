//! Changes: their identity, and what a record remembers of them.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use rand::{Rng, RngExt};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::krate::{Owner, Version};

/// The identity of one change: 128 random bits, as 32 hexadecimal digits. It stands first in what is stored, so that a
/// writer whose reply was lost recognises its own work, and no two states of an object have the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct OpId(String);

impl OpId {
    /// A new identity.
    pub fn generate(rng: &mut impl Rng) -> Self {
        Self(format!("{:032x}", rng.random::<u128>()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for OpId {
    type Err = OpIdError;

    fn from_str(text: &str) -> Result<Self, OpIdError> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 32 && text.bytes().all(is_digit) { Ok(Self(text.to_owned())) } else { Err(OpIdError) }
    }
}

impl<'de> Deserialize<'de> for OpId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The text is not the identity of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the identity of a change must be 32 lower-case hexadecimal digits")]
pub struct OpIdError;

/// One of the last changes of a crate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// Its identity.
    pub op: OpId,
    /// What it did.
    pub kind: OpKind,
    /// Who asked for it.
    pub actor: Owner,
    /// When.
    pub at: Timestamp,
    /// The `rev` that it made.
    pub rev: u64,
    /// The version, if it concerns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vers: Option<Version>,
    /// The owners that it added or removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<Owner>,
    /// Fields of a later version.
    #[serde(flatten)]
    pub(super) extra: Map<String, Value>,
}

/// What a change did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpKind {
    /// A version was added.
    Publish,
    /// A version was yanked.
    Yank,
    /// A version is no longer yanked.
    Unyank,
    /// Owners were added.
    OwnerAdd,
    /// Owners were removed.
    OwnerRemove,
    /// The crate was deleted.
    Delete,
    /// The crate was restored.
    Restore,
    /// The record was damaged or gone, and went on from an earlier state: changes between may be lost.
    Recover,
    /// Something that a later version does.
    #[serde(untagged)]
    Other(String),
}
