//! Faults around any store, by a seed or by a script: what a network and a busy server do, so that the code above meets it in tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::proof::Provable;
use super::{
    Body, Cond, Cursor, Etag, Get, Key, Object, ObjectBody, Page, Past, Prefix, Put, Refused, Store, StoreError,
    StoreErrorKind,
};

/// A fault at one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call does not reach the store: [`Put::NotSent`], or `Unavailable`.
    NotSent,
    /// The store turns the call away: [`Put::NotSent`] or an error, `Throttled`.
    Throttled,
    /// A put is answered 409, and has done nothing. Other calls: as [`Fault::NotSent`].
    Conflict,
    /// The call is lost on the way; a put answers [`Put::Unknown`] and has done nothing.
    LostRequest,
    /// The call is carried out, and the answer lost: [`Put::Unknown`], although it may have been stored.
    LostReply,
    /// As [`Fault::LostRequest`], but the put is carried out after this time, whatever has happened by then.
    Late(Duration),
    /// A get answers with a body that breaks off in the middle. Other calls: as [`Fault::LostReply`].
    Truncated,
    /// A get answers with one bit of its body turned over. Other calls: as [`Fault::LostReply`]. By chance only where what is stored
    /// carries a checksum: crate records and `.crate` files. Of the rest TLS takes care.
    Flipped,
}

/// How often what happens, as probabilities between 0 and 1. `Default` is no fault at all.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// [`Fault::NotSent`]
    pub not_sent: f64,
    /// [`Fault::Throttled`]
    pub throttled: f64,
    /// [`Fault::Conflict`]
    pub conflict: f64,
    /// [`Fault::LostRequest`]
    pub lost_request: f64,
    /// [`Fault::LostReply`]
    pub lost_reply: f64,
    /// [`Fault::Late`], after up to `delay_max` ten times over.
    pub late: f64,
    /// [`Fault::Truncated`]
    pub truncated: f64,
    /// [`Fault::Flipped`]
    pub flipped: f64,
    /// Every call takes up to this long before it reaches the store, and again before its answer is back.
    pub delay_max: Duration,
}

impl Rates {
    /// Everything that can go wrong does so now and then: one call in five or so.
    pub fn rough() -> Self {
        Self {
            not_sent: 0.03,
            throttled: 0.03,
            conflict: 0.04,
            lost_request: 0.03,
            lost_reply: 0.05,
            late: 0.02,
            truncated: 0.03,
            flipped: 0.01,
            delay_max: Duration::from_millis(5),
        }
    }
}

/// The calls that a script can wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// [`Store::get`]
    Get,
    /// [`Store::put`]
    Put,
    /// [`Store::list`]
    List,
    /// [`Store::delete`]
    Delete,
}

/// A store with faults. Clones share the faults.
#[derive(Debug)]
pub struct Faulty<S> {
    inner: Arc<S>,
    faults: Arc<Mutex<Faults>>,
}

#[derive(Debug)]
struct Faults {
    rng: StdRng,
    rates: Rates,
    script: VecDeque<Scripted>,
    down: bool,
    calls: Vec<(Call, String, Option<Fault>)>,
}

#[derive(Debug)]
struct Scripted {
    call: Call,
    key: String,
    fault: Option<Fault>,
}

/// What happens to one call.
struct Fate {
    fault: Option<Fault>,
    /// Which bit is turned over, as a share of all.
    place: f64,
    before: Duration,
    after: Duration,
}

impl<S> Clone for Faulty<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), faults: Arc::clone(&self.faults) }
    }
}

impl<S: Store> Faulty<S> {
    /// Puts faults around `inner`. The same seed gives the same faults to the same sequence of calls: print it.
    pub fn new(inner: S, seed: u64, rates: Rates) -> Self {
        let faults =
            Faults { rng: StdRng::seed_from_u64(seed), rates, script: VecDeque::new(), down: false, calls: Vec::new() };
        Self { inner: Arc::new(inner), faults: Arc::new(Mutex::new(faults)) }
    }

    /// A store without faults, until a script or [`set_rates`](Self::set_rates) brings some.
    pub fn calm(inner: S) -> Self {
        Self::new(inner, 0, Rates::default())
    }

    /// Makes the next `call` on a key that contains `key` go wrong. Scripted faults come before those by chance, each once, in the order
    /// in which they were given.
    pub fn script(&self, call: Call, key: &str, fault: Fault) {
        self.lock().script.push_back(Scripted { call, key: key.to_owned(), fault: Some(fault) });
    }

    /// Lets the next `call` on a key that contains `key` go well, before what is scripted after it.
    pub fn script_pass(&self, call: Call, key: &str) {
        self.lock().script.push_back(Scripted { call, key: key.to_owned(), fault: None });
    }

    /// Other probabilities from now on.
    pub fn set_rates(&self, rates: Rates) {
        self.lock().rates = rates;
    }

    /// Cuts the store off (every call is [`Fault::NotSent`]), or heals it.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// All calls so far, with the faults they met, in the order in which they were made.
    pub fn calls(&self) -> Vec<(Call, String, Option<Fault>)> {
        self.lock().calls.clone()
    }

    /// The store itself, to look at without faults.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn lock(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides what happens to a call, and lets the time pass before it.
    async fn meet(&self, call: Call, key: &str) -> Fate {
        let fate = self.lock().decide(call, key);
        tokio::time::sleep(fate.before).await;
        fate
    }
}

impl Faults {
    fn decide(&mut self, call: Call, key: &str) -> Fate {
        let scripted = self.script.iter().position(|s| s.call == call && key.contains(&s.key));
        let fault = match scripted.and_then(|index| self.script.remove(index)) {
            Some(scripted) => scripted.fault,
            None if self.down => Some(Fault::NotSent),
            None => self.by_chance().filter(|fault| *fault != Fault::Flipped || has_checksum(key)),
        };
        self.calls.push((call, key.to_owned(), fault));
        let place = if fault == Some(Fault::Flipped) { self.rng.random() } else { 0.0 };
        Fate { fault, place, before: self.pause(1), after: self.pause(1) }
    }

    fn by_chance(&mut self) -> Option<Fault> {
        let Rates { not_sent, throttled, conflict, lost_request, lost_reply, late, truncated, flipped, delay_max: _ } =
            self.rates;
        let mut point: f64 = self.rng.random();
        let late_by = self.pause(10);
        for (rate, fault) in [
            (not_sent, Fault::NotSent),
            (throttled, Fault::Throttled),
            (conflict, Fault::Conflict),
            (lost_request, Fault::LostRequest),
            (lost_reply, Fault::LostReply),
            (late, Fault::Late(late_by)),
            (truncated, Fault::Truncated),
            (flipped, Fault::Flipped),
        ] {
            if point < rate {
                return Some(fault);
            }
            point -= rate;
        }
        None
    }

    fn pause(&mut self, times: u32) -> Duration {
        self.rates.delay_max.mul_f64(self.rng.random::<f64>()) * times
    }
}

fn has_checksum(key: &str) -> bool {
    key.starts_with("v1/crate/") || key.starts_with("v1/blob/")
}

fn error(fault: Fault, key: &str) -> StoreError {
    let kind = if fault == Fault::Throttled { StoreErrorKind::Throttled } else { StoreErrorKind::Unavailable };
    StoreError::new(kind, format!("injected fault at `{key}`: {fault:?}"))
}

#[async_trait]
impl<S: Store> Store for Faulty<S> {
    async fn get(&self, key: &Key, if_none_match: Option<&Etag>) -> Result<Get, StoreError> {
        let text = key.to_string();
        let fate = self.meet(Call::Get, &text).await;
        if let Some(fault) = fate.fault.filter(|fault| !matches!(fault, Fault::Truncated | Fault::Flipped)) {
            return Err(error(fault, &text));
        }
        let got = self.inner.get(key, if_none_match).await;
        tokio::time::sleep(fate.after).await;
        match (got, fate.fault) {
            (Ok(Get::Found(object)), Some(Fault::Truncated)) => {
                Ok(Get::Found(damage(object, |all| all.truncate(all.len() / 2)).await?))
            }
            (Ok(Get::Found(object)), Some(Fault::Flipped)) => {
                Ok(Get::Found(damage(object, |all| flip(all, fate.place)).await?))
            }
            (got, _) => got,
        }
    }

    async fn put(&self, key: &Key, body: Body, cond: Cond) -> Put {
        let text = key.to_string();
        let fate = self.meet(Call::Put, &text).await;
        match fate.fault {
            Some(fault @ (Fault::NotSent | Fault::Throttled)) => return Put::NotSent(error(fault, &text)),
            Some(Fault::Conflict) if cond != Cond::Any => return Put::Refused(Refused::Conflict),
            Some(fault @ Fault::Conflict) => return Put::NotSent(error(fault, &text)),
            Some(Fault::LostRequest) => return Put::Unknown(error(Fault::LostRequest, &text)),
            Some(fault @ Fault::Late(after)) => {
                let (inner, key) = (Arc::clone(&self.inner), key.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    // Nobody hears what becomes of it.
                    drop(inner.put(&key, body, cond).await);
                });
                return Put::Unknown(error(fault, &text));
            }
            Some(Fault::LostReply | Fault::Truncated | Fault::Flipped) | None => {}
        }
        let put = self.inner.put(key, body, cond).await;
        tokio::time::sleep(fate.after).await;
        match fate.fault {
            Some(fault) => Put::Unknown(error(fault, &text)),
            None => put,
        }
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Cursor>) -> Result<Page, StoreError> {
        let text = prefix.to_string();
        let fate = self.meet(Call::List, &text).await;
        if let Some(fault) = fate.fault {
            return Err(error(fault, &text));
        }
        let page = self.inner.list(prefix, after).await;
        tokio::time::sleep(fate.after).await;
        page
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let text = key.to_string();
        let fate = self.meet(Call::Delete, &text).await;
        match fate.fault {
            Some(fault @ (Fault::LostReply | Fault::Truncated | Fault::Flipped)) => {
                self.inner.delete(key).await?;
                Err(error(fault, &text))
            }
            Some(fault) => Err(error(fault, &text)),
            None => self.inner.delete(key).await,
        }
    }

    async fn history(&self, key: &Key) -> Result<Vec<Past>, StoreError> {
        self.inner.history(key).await
    }

    async fn get_past(&self, key: &Key, past: &Past) -> Result<Get, StoreError> {
        self.inner.get_past(key, past).await
    }

    fn location(&self) -> String {
        format!("{} (with injected faults)", self.inner.location())
    }
}

#[async_trait]
impl<S: Store> Provable for Faulty<S> {
    async fn witness(&self, _number: usize) -> Result<Arc<dyn Provable>, StoreError> {
        Ok(Arc::new(self.clone()))
    }
}

/// Turns one bit over.
fn flip(all: &mut [u8], place: f64) {
    let bit = (all.len() as f64 * 8.0 * place) as usize;
    if let Some(byte) = all.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
}

/// The same object, with something done to its body.
async fn damage(object: Object, damage: impl FnOnce(&mut Vec<u8>)) -> Result<Object, StoreError> {
    let Object { etag, len, mut body } = object;
    let mut all = Vec::new();
    while let Some(chunk) = body.next().await {
        all.extend_from_slice(&chunk?);
    }
    damage(&mut all);
    Ok(Object { etag, len, body: ObjectBody::new(len, stream::iter([Ok(Bytes::from(all))])) })
}

#[cfg(test)]
mod tests;
