//! The way from a process to the store and to the other processes: latencies with tails, losses, cuts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use supercargo_registry::replicas::{Ack, Notice, Peers};
use supercargo_registry::store::faulty::Faulty;
use supercargo_registry::store::proof::Provable;
use supercargo_registry::store::{
    Body, Cond, Cursor, Etag, Get, Key, Page, Prefix, Put, Store, StoreError, StoreErrorKind,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::ledger::Ledger;
use crate::process::{Process, Trouble};
use crate::world::Processes;

/// After this a process gives a call up; the store may still carry it out.
const PATIENCE: Duration = Duration::from_millis(600);
/// After this it gives a notice up.
const NOTICE_PATIENCE: Duration = Duration::from_millis(200);

/// How bad the wire is: one in so many calls has a long way, or is lost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) store_tail: u64,
    pub(crate) peer_tail: u64,
    pub(crate) lost: u64,
    /// One in so many faults is a join whose answer is lost for so long that the others take its epoch out of the head again.
    pub(crate) lost_joins: u64,
}

impl Default for Weather {
    fn default() -> Self {
        Self { store_tail: 33, peer_tail: 50, lost: 150, lost_joins: 20 }
    }
}

impl Weather {
    /// For faults that need several long ways at once.
    pub(crate) fn rough() -> Self {
        Self { store_tail: 8, peer_tail: 5, lost_joins: 3, ..Self::default() }
    }
}

/// The store as one process sees it.
pub(crate) struct StoreWire {
    pub(crate) process: Arc<Process>,
    pub(crate) store: Faulty<Ledger>,
    pub(crate) dice: Dice,
    pub(crate) weather: Weather,
}

impl StoreWire {
    fn one_way(&self) -> Duration {
        if self.dice.one_in(self.weather.store_tail) { self.dice.millis(0, 1000) } else { self.dice.millis(5, 10) }
    }

    /// Carries a call out. `None`: no answer in time. The call lives on without the process that made it.
    async fn call<T: Send + 'static>(&self, call: impl Future<Output = T> + Send + 'static) -> Option<T> {
        self.process.gate().await;
        let (there, back) = (self.one_way(), self.one_way());
        let process = self.process.clone();
        let lost = process.is_in(Trouble::NoStore) || self.dice.one_in(2 * self.weather.lost);
        let reply_lost = self.dice.one_in(self.weather.lost);
        let (answer, answered) = oneshot::channel();
        if !lost {
            tokio::spawn(async move {
                tokio::time::sleep(there).await;
                let result = call.await;
                if reply_lost || process.is_in(Trouble::NoStore) {
                    // The caller waits in vain.
                    tokio::time::sleep(2 * PATIENCE).await;
                }
                tokio::time::sleep(back).await;
                drop(answer.send(result));
            });
            let result = tokio::time::timeout(PATIENCE, answered).await;
            self.process.gate().await;
            return result.ok().and_then(Result::ok);
        }
        tokio::time::sleep(PATIENCE).await;
        self.process.gate().await;
        None
    }
}

fn no_answer() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "no answer in time")
}

#[async_trait]
impl Store for StoreWire {
    async fn get(&self, key: &Key, if_none_match: Option<&Etag>) -> Result<Get, StoreError> {
        let (store, key, if_none_match) = (self.store.clone(), key.clone(), if_none_match.cloned());
        let call = async move { store.get(&key, if_none_match.as_ref()).await };
        self.call(call).await.unwrap_or_else(|| Err(no_answer()))
    }

    async fn put(&self, key: &Key, body: Body, cond: Cond) -> Put {
        let (store, key, process, dice) = (self.store.clone(), key.clone(), self.process.clone(), self.dice.clone());
        let call = async move {
            let put = store.put(&key, body, cond).await;
            if key == Key::Head && matches!(put, Put::Stored(_)) && process.is_in(Trouble::LostJoin) {
                process.end_trouble(Trouble::LostJoin);
                process.trouble(Trouble::NoStore, Instant::now() + dice.millis(500, 1800));
            }
            put
        };
        self.call(call).await.unwrap_or_else(|| Put::Unknown(no_answer()))
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Cursor>) -> Result<Page, StoreError> {
        self.store.list(prefix, after).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.store.delete(key).await
    }

    fn location(&self) -> String {
        self.store.location()
    }
}

#[async_trait]
impl Provable for StoreWire {
    async fn witness(&self, _: usize) -> Result<Arc<dyn Provable>, StoreError> {
        panic!("nobody proves the simulated store")
    }
}

/// The other processes as one process sees them.
pub(crate) struct PeerWire {
    pub(crate) process: Arc<Process>,
    pub(crate) processes: Processes,
    pub(crate) dice: Dice,
    pub(crate) weather: Weather,
}

impl PeerWire {
    async fn one_way(&self) {
        let tail = self.dice.one_in(self.weather.peer_tail);
        tokio::time::sleep(if tail { self.dice.millis(0, 250) } else { self.dice.millis(0, 1) }).await;
    }

    fn arrives(&self, from: &Process, to: &Process) -> bool {
        !from.is_in(Trouble::NoOutgoing) && !to.is_in(Trouble::NoIncoming) && !self.dice.one_in(200)
    }

    async fn bring(&self, address: usize, notice: &Notice) -> Option<Ack> {
        let to = self.processes.at(address)?;
        if !self.arrives(&self.process, &to) {
            return None;
        }
        self.one_way().await;
        to.gate().await;
        if !to.is_alive() {
            return None;
        }
        // What is applied is applied, also when its sender dies meanwhile.
        let registry = to.registry();
        let taken = notice.clone();
        let ack = to.spawn(async move { registry.notice(&taken).await }).await.ok().flatten()?;
        if !self.arrives(&to, &self.process) {
            return None;
        }
        self.one_way().await;
        Some(ack)
    }
}

#[async_trait]
impl Peers for PeerWire {
    async fn notify(&self, address: &str, notice: &Notice) -> Option<Ack> {
        self.process.gate().await;
        let address = address.parse().expect("addresses here are numbers");
        let ack = tokio::time::timeout(NOTICE_PATIENCE, self.bring(address, notice)).await.ok().flatten();
        if ack.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.process.gate().await;
        ack
    }
}
