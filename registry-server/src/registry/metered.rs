//! A store that counts and times its calls: when answers are slow, the first question is whether the store is.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::metrics;
use crate::store::{Body, Cond, Cursor, Etag, Get, Key, Page, Part, Past, Prefix, Put, Refused, Store, StoreError};

/// Passes every call on, and tells the metrics how it went. A get is timed to its head, not to the end of its body.
pub(super) struct Metered(pub(super) Arc<dyn Store>);

fn outcome(put: &Put) -> &'static str {
    match put {
        Put::Stored(_) => "stored",
        Put::Refused(Refused::Precondition) => "precondition",
        Put::Refused(Refused::Conflict) => "conflict",
        Put::Refused(Refused::Missing) => "missing",
        Put::NotSent(error) => error.kind().label(),
        Put::Unknown(_) => "unknown",
    }
}

#[async_trait]
impl Store for Metered {
    async fn get(&self, key: &Key, if_none_match: Option<&Etag>) -> Result<Get, StoreError> {
        let begun = Instant::now();
        let got = self.0.get(key, if_none_match).await;
        let outcome = match &got {
            Ok(Get::Found(_)) => "found",
            Ok(Get::NotModified) => "not_modified",
            Ok(Get::Missing) => "missing",
            Err(error) => error.kind().label(),
        };
        metrics::store_call("get", outcome, begun.elapsed());
        got
    }

    async fn get_part(&self, key: &Key, part: Range<u64>) -> Result<Option<Part>, StoreError> {
        let begun = Instant::now();
        let got = self.0.get_part(key, part).await;
        let outcome = match &got {
            Ok(Some(_)) => "found",
            Ok(None) => "missing",
            Err(error) => error.kind().label(),
        };
        metrics::store_call("get", outcome, begun.elapsed());
        got
    }

    async fn put(&self, key: &Key, body: Body, cond: Cond) -> Put {
        let begun = Instant::now();
        let put = self.0.put(key, body, cond).await;
        metrics::store_call("put", outcome(&put), begun.elapsed());
        put
    }

    async fn put_after(&self, first: (&Key, Body), then: (&Key, Body), cond: Cond) -> Result<Put, StoreError> {
        let begun = Instant::now();
        let put = self.0.put_after(first, then, cond).await;
        // One call: nobody can say how long each of the two took.
        metrics::store_call("put", put.as_ref().map_or_else(|error| error.kind().label(), outcome), begun.elapsed());
        put
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Cursor>) -> Result<Page, StoreError> {
        let begun = Instant::now();
        let page = self.0.list(prefix, after).await;
        metrics::store_call("list", page.as_ref().map_or_else(|error| error.kind().label(), |_| "ok"), begun.elapsed());
        page
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let begun = Instant::now();
        let done = self.0.delete(key).await;
        metrics::store_call(
            "delete",
            done.as_ref().map_or_else(|error| error.kind().label(), |()| "ok"),
            begun.elapsed(),
        );
        done
    }

    // No call of the store: the signature is made here.
    async fn presign_get(&self, key: &Key, valid: Duration) -> Result<Option<String>, StoreError> {
        self.0.presign_get(key, valid).await
    }

    // Only repairs ask for what was.
    async fn history(&self, key: &Key) -> Result<Vec<Past>, StoreError> {
        self.0.history(key).await
    }

    async fn get_past(&self, key: &Key, past: &Past) -> Result<Get, StoreError> {
        self.0.get_past(key, past).await
    }

    fn location(&self) -> String {
        self.0.location()
    }
}
