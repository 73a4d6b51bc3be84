//! Tokens in the store: only their hashes, looked up on every request, in memory where that is as good.
//!
//! Idempotent by design: whoever wants a token makes it and tells only its hash, so a repeated call cannot mint a second
//! one, and no answer ever carries a secret.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;

use super::audit::{self, Entry};
use super::commit::{Commit, Decision, Shown};
use super::documents::{Document, Purpose, Recalled, Versioned};
use super::known::{Known, KnownToken};
use super::{Registry, RegistryError};
use crate::access::record::TOKEN_RECORD_BYTES_MAX;
use crate::access::{NewToken, TokenHash, TokenRecord};
use crate::krate::record::OpId;
use crate::store::{Key, Prefix, Sha256Digest, Ulid, list_all};

/// How many tokens are read at once for a listing.
const READS_AT_ONCE: usize = 16;

impl Document for TokenRecord {
    const BYTES_MAX: u64 = TOKEN_RECORD_BYTES_MAX as u64;
    const KEPT_WHOLE: bool = true;

    fn decode(bytes: Bytes) -> Result<Self, String> {
        Self::parse(&bytes).map_err(|error| error.to_string())
    }

    fn encode(&self) -> Bytes {
        self.to_bytes().into()
    }

    fn contains(&self, op: &OpId) -> bool {
        Self::contains(self, op)
    }

    fn rev(&self) -> u64 {
        self.rev
    }

    fn mark(&self) -> Option<&OpId> {
        self.mark.as_ref()
    }

    fn audit(&self, key: &Key, op: &OpId) -> Option<Entry> {
        self.ops.iter().find(|done| done.op == *op).and_then(|op| audit::of_token(key, self, op))
    }

    fn marked(before: Option<&Self>, next: &Self, mark: OpId) -> Self {
        before.map_or_else(|| next.reservation(mark.clone()), |before| before.marked(mark.clone()))
    }

    fn swept(&self, op: OpId) -> Option<Self> {
        // A token that is not there yet is kept in memory in no case, and reads as missing.
        (self.rev > 0).then(|| Self::swept(self, op))
    }

    fn known(key: &Key, state: Option<&Versioned<Self>>) -> Result<Option<Known>, RegistryError> {
        let (Some(state), Key::Token(digest)) = (state, key) else { return Ok(None) };
        let hash = TokenHash::from_bytes(*digest.as_bytes());
        Ok(Some(Known::Token(Arc::new(KnownToken::new(hash, state)))))
    }

    fn from_known(known: &Known) -> Recalled<Self> {
        match known {
            Known::Token(token) => Recalled::Whole(token.state.clone()),
            Known::Crate(_) | Known::NoCrate => Recalled::Absent,
        }
    }
}

fn key(hash: TokenHash) -> Key {
    Key::Token(Sha256Digest::from_bytes(*hash.as_bytes()))
}

impl Registry {
    /// The token with this hash, revoked and expired ones too.
    ///
    /// # Errors
    /// The store does not answer, or holds something unreadable.
    pub async fn token(&self, hash: TokenHash) -> Result<Option<TokenRecord>, RegistryError> {
        Ok(self.known_token(hash).await?.map(|token| TokenRecord::clone(&token.state.document)))
    }

    /// The same, in the form in which it is kept.
    pub(super) async fn known_token(&self, hash: TokenHash) -> Result<Option<Arc<KnownToken>>, RegistryError> {
        self.check_ready()?;
        match self.documents.know::<TokenRecord>(&key(hash), Purpose::Other).await? {
            Some(Known::Token(token)) => Ok(Some(token)),
            Some(Known::Crate(_) | Known::NoCrate) | None => Ok(None),
        }
    }

    /// The same, if memory knows it.
    pub(super) fn known_token_at_once(&self, hash: TokenHash) -> Option<Arc<KnownToken>> {
        match self.documents.know_at_once(&key(hash))? {
            Known::Token(token) => Some(token),
            Known::Crate(_) | Known::NoCrate => None,
        }
    }

    /// Makes the token, or gives it this content. The same content again writes nothing.
    ///
    /// # Errors
    /// The content is not allowed; the token was revoked, which is for ever; the store fails.
    pub async fn put_token(&self, hash: TokenHash, token: NewToken) -> Result<TokenRecord, RegistryError> {
        self.check_ready()?;
        token.check().map_err(|error| RegistryError::Invalid(error.to_string()))?;
        let (op, now) = (self.new_op(), self.clock.now());
        let commit = Commit {
            key: key(hash),
            operation: "token_put",
            what: format!("the token {hash}"),
            op: &op,
            shown: Shown::Committed,
            not_after: None,
            needs: None,
        };
        self.commit(commit, None, |state: Option<&TokenRecord>| {
            let Some(state) = state else {
                let record = TokenRecord::new(op.clone(), token.clone(), now);
                return Ok(Decision::Write(record.clone(), record));
            };
            let mut record = state.clone();
            let changed = record
                .update(op.clone(), token.clone(), now)
                .map_err(|error| RegistryError::Conflict(error.to_string()))?;
            Ok(if changed { Decision::Write(record.clone(), record) } else { Decision::Keep(record) })
        })
        .await
    }

    /// Revokes the token, in force on every replica when this returns. Success too if there is no such token, or it was revoked before.
    ///
    /// # Errors
    /// The store fails.
    pub async fn revoke_token(&self, hash: TokenHash) -> Result<(), RegistryError> {
        self.check_ready()?;
        let (op, now) = (self.new_op(), self.clock.now());
        let commit = Commit {
            key: key(hash),
            operation: "token_revoke",
            what: format!("the token {hash}"),
            op: &op,
            shown: Shown::Committed,
            not_after: None,
            needs: None,
        };
        self.commit(commit, None, |state: Option<&TokenRecord>| {
            let Some(state) = state else { return Ok(Decision::Keep(())) };
            let mut record = state.clone();
            Ok(if record.revoke(op.clone(), now) { Decision::Write(record, ()) } else { Decision::Keep(()) })
        })
        .await
    }

    /// All tokens with their hashes, in the order of the hashes.
    ///
    /// # Errors
    /// The store fails, or one of them is unreadable.
    pub async fn tokens(&self) -> Result<Vec<(TokenHash, TokenRecord)>, RegistryError> {
        self.check_ready()?;
        let hashes = list_all(&*self.store, &Prefix::Tokens).await?.into_iter().filter_map(|entry| match entry.key {
            Key::Token(digest) => digest.to_string().parse::<TokenHash>().ok(),
            _ => None,
        });
        let reads = hashes
            .map(|hash| async move { Ok::<_, RegistryError>(self.token(hash).await?.map(|record| (hash, record))) });
        let read: Vec<_> = futures::stream::iter(reads).buffered(READS_AT_ONCE).collect().await;
        read.into_iter().filter_map(Result::transpose).collect()
    }

    /// Whether anybody ever made a token here.
    ///
    /// # Errors
    /// The store fails.
    pub async fn has_tokens(&self) -> Result<bool, RegistryError> {
        self.check_ready()?;
        Ok(!self.store.list(&Prefix::Tokens, None).await?.entries.is_empty())
    }

    /// An identity that no other process makes, ordered by time.
    pub(crate) fn new_ulid(&self) -> Ulid {
        let millis = u64::try_from(self.clock.now().as_millisecond()).unwrap_or(0);
        Ulid::from_parts(millis, self.entropy.bits())
    }

    /// A fresh identity for one change.
    pub(super) fn new_op(&self) -> OpId {
        self.entropy.with(OpId::generate)
    }
}
