//! Equal replicas over one store that serve from memory and still behave as one linearizable registry. (The idea: Gray and Cheriton,
//! *Leases*, SOSP 1989.)
//!
//! A replica may serve what it keeps in memory while it holds a lease. It gets one by entering [`head`] (`v1/head`) by compare-and-swap, and
//! renews it by reading the head again: nothing when idle. A writer marks the record, announces the change in the head, has every member
//! forget its copy (each acknowledges, or its lease is outlasted), and only then commits. So one replica waits for nobody, several wait one
//! round trip between them, and only a fault costs the length of a lease.
//!
//! Reading order, pure first: [`rules`], [`head`], [`lease`] (membership), [`entries`] (what is kept, on `shelf`), [`memory`] (both under one lock),
//! [`peers`] and [`flights`]; then what touches the world: [`Replica`] here, `reads` (memory, and the head that makes it
//! certain), `head_writes` (the one place that replaces the head), `clear` (the writer's wait), `upkeep` (joins, polls, removals, leaving).
//!
//! Guarantees: what one request has shown or acknowledged, no later request on any replica contradicts. Assumes: a linearizable store; clocks
//! whose speeds differ by at most [`lease::MARGIN`]; notices are only true ones. Caveat: in [`Mode::Available`] an index file may be up to
//! [`AVAILABLE_MAX`] old while the store cannot be reached.
//!
//! What must never exist here: a look-up before the look at the clock; a lease that runs from the end of a call; an acknowledgement before
//! the entry is gone; a head written anywhere else.

mod clear;
pub mod entries;
pub mod flights;
pub mod head;
mod head_writes;
pub mod lease;
pub mod memory;
pub mod peers;
mod reads;
pub mod rules;
pub(crate) mod shelf;
mod upkeep;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use tokio::sync::{Notify, broadcast};

use self::entries::{Candidate, Size};
use self::flights::Flights;
use self::head::RING_MAX;
pub use self::head_writes::Announcement;
use self::head_writes::HeadWrites;
pub use self::memory::{Lookup, Memory, Seen};
pub use self::peers::{Ack, NoPeers, Notice, Peers};
pub use self::rules::{Mutant, Rules};
use crate::ambient::{Entropy, Monotonic};
use crate::store::{Key, Store, StoreError};

/// The oldest state of an index file that [`Mode::Available`] serves.
pub const AVAILABLE_MAX: Duration = Duration::from_secs(30);
/// The length of a lease when nobody says otherwise.
pub const LEASE_DEFAULT: Duration = Duration::from_secs(2);
/// What may be kept in memory when nobody says otherwise, in bytes.
pub const ENTRIES_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What a replica that is cut off from the store does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It answers nothing.
    #[default]
    Strict,
    /// It goes on serving index files for a while ([`AVAILABLE_MAX`]); nothing else.
    Available,
}

/// What a replica is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The length of a lease, the same on all replicas.
    pub lease: Duration,
    /// Where notices reach this replica; empty: nowhere.
    pub address: String,
    /// What to do when cut off from the store.
    pub mode: Mode,
    /// How many announcements the head keeps, and a replica remembers.
    pub ring_max: usize,
    /// What may be kept in memory, in bytes.
    pub entries_bytes_max: usize,
    /// The rules that hold: all, but in tests.
    pub rules: Rules,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: LEASE_DEFAULT,
            address: String::new(),
            mode: Mode::default(),
            ring_max: RING_MAX,
            entries_bytes_max: ENTRIES_BYTES_MAX,
            rules: Rules::default(),
        }
    }
}

/// What a replica stands on.
pub struct Ground {
    /// The store that all replicas share.
    pub store: Arc<dyn Store>,
    /// Whether this process is the only one over its store: then it needs no head, and no lease.
    pub alone: bool,
    /// The way to the others.
    pub peers: Arc<dyn Peers>,
    /// The clock of the leases.
    pub time: Monotonic,
    /// Epochs, identities, jitter.
    pub entropy: Entropy,
}

/// One replica: what it keeps in memory (states of type `V`), and its part in the agreement.
pub struct Replica<V> {
    ground: Ground,
    settings: Settings,
    memory: Mutex<Memory<V>>,
    polls: Flights<(), Result<bool, StoreError>>,
    writes: HeadWrites,
    /// Tells whoever waits for a newer head that there is one. Not a `watch`, which wakes in an order of its own choice: simulations have to
    /// replay.
    heads: broadcast::Sender<()>,
    heads_told: AtomicU64,
    /// When the head could not be read, if that was the last that was heard of it.
    failed_at: Mutex<Option<Duration>>,
    busy: AtomicBool,
    woken: Notify,
}

impl<V> std::fmt::Debug for Replica<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// How a replica is doing, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Standing {
    /// `alone`, `member` or `solo`.
    pub role: &'static str,
    /// Members in the newest head.
    pub members: usize,
    /// States in memory.
    pub entries: usize,
    /// What they take, in bytes.
    pub entry_bytes: usize,
}

impl<V: Clone + Send + Sync + 'static> Replica<V> {
    /// A replica that knows nothing yet. [`Replica::keep_up`] makes it a member.
    pub fn new(ground: Ground, settings: Settings) -> Arc<Self> {
        let Settings { lease, entries_bytes_max, ring_max, rules, .. } = settings;
        Arc::new(Self {
            memory: Mutex::new(Memory::new(ground.alone, lease, entries_bytes_max, ring_max, rules)),
            polls: Flights::new(rules.broken(Mutant::SoloOnOlderHead)),
            writes: HeadWrites::default(),
            heads: broadcast::Sender::new(1),
            heads_told: AtomicU64::new(0),
            failed_at: Mutex::default(),
            busy: AtomicBool::new(false),
            woken: Notify::new(),
            ground,
            settings,
        })
    }

    /// Whether this process is the only one over its store.
    pub fn is_alone(&self) -> bool {
        self.ground.alone
    }

    /// The rules that hold.
    pub fn rules(&self) -> Rules {
        self.settings.rules
    }

    /// The clock of the leases.
    pub fn time(&self) -> &Monotonic {
        &self.ground.time
    }

    /// How it is doing.
    pub fn standing(&self) -> Standing {
        let mut memory = self.memory();
        let members = memory.newest().map_or(0, |seen| seen.head.members.len());
        let Size { entries, bytes: entry_bytes, .. } = memory.entries().size();
        let role = match memory.lease().epoch() {
            _ if self.ground.alone => "alone",
            Some(_) => "member",
            None => "solo",
        };
        Standing { role, members, entries, entry_bytes }
    }

    /// The id of the registry in the store. Another one than before empties the memory.
    pub fn serve_registry(&self, id: &str) {
        self.memory().serve_registry(id, self.ground.time.now());
    }

    /// The id of the registry that is served; empty before it is known.
    pub fn registry(&self) -> String {
        self.memory().registry().to_owned()
    }

    /// The newest head that is known.
    pub fn newest(&self) -> Option<Arc<Seen>> {
        self.memory().newest().cloned()
    }

    /// The generation of a read or a commit that begins now.
    pub fn generation(&self) -> u64 {
        self.memory().entries().generation()
    }

    /// Keeps a state that was read or committed, if it may be kept.
    pub fn keep(&self, key: &Key, candidate: Candidate<V>) {
        self.memory().keep(key, candidate);
    }

    /// Forgets older states of a record that is about to change, here only.
    pub fn forget_older(&self, key: &Key, rev: u64) {
        self.memory().entries().announce(key, rev);
    }

    /// The same where no mark will say that a change is under way: older states are not kept until [`Replica::release`].
    pub fn hold(&self, key: &Key, rev: u64) {
        self.memory().entries().hold(key, rev);
    }

    /// The outcome of a change after [`Replica::hold`] is known.
    pub fn release(&self, key: &Key) {
        self.memory().entries().release(key);
    }

    /// What is kept in memory.
    pub fn size(&self) -> Size {
        self.memory().entries().size()
    }

    /// Applies a notice from another replica; the acknowledgement, if it is for this membership.
    pub fn notice(self: &Arc<Self>, notice: &Notice) -> Option<Ack> {
        if self.settings.rules.broken(Mutant::AckBeforeApply) {
            let (this, notice) = (self.clone(), notice.clone());
            tokio::spawn(async move {
                this.ground.time.sleep(this.settings.lease.mul_f64(this.jitter() / 5.0)).await;
                if let Some(key) = Key::parse(&notice.key) {
                    this.forget_older(&key, notice.rev);
                }
            });
        }
        self.memory().notice(notice)
    }

    fn tell_newest(&self) {
        let rev = self.memory().newest().map_or(0, |seen| seen.head.rev);
        if self.heads_told.swap(rev, Ordering::Relaxed) != rev {
            // Nobody may be waiting.
            drop(self.heads.send(()));
        }
    }

    fn jitter(&self) -> f64 {
        self.ground.entropy.with(|rng| rng.random())
    }

    fn memory(&self) -> MutexGuard<'_, Memory<V>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
