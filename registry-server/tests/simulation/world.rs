//! One run: processes over one store, clients, faults, for some simulated seconds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use supercargo_registry::access::{Principal, TokenSecret, Visibility};
use supercargo_registry::ambient::{Clock, Entropy, Monotonic};
use supercargo_registry::maintenance::sweep::{Pace, keep_swept};
use supercargo_registry::registry::{Registry, Replication, Storage};
use supercargo_registry::replicas::{Rules, Settings};
use supercargo_registry::store::faulty::{Faulty, Rates};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::check::{Floors, Report};
use crate::clients::{Bytes, CRATES, Write, new_token, secret};
use crate::dice::Dice;
use crate::ledger::Ledger;
use crate::process::{LocalTime, Process};
use crate::wire::{PeerWire, StoreWire, Weather};

/// What kind of run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) rules: Rules,
    /// The fastest clock over the slowest.
    pub(crate) clock_ratio: f64,
    pub(crate) weather: Weather,
    pub(crate) lasts: Duration,
}

impl Default for Setting {
    fn default() -> Self {
        Self { rules: Rules::default(), clock_ratio: 1.14, weather: Weather::default(), lasts: Duration::from_secs(8) }
    }
}

impl Setting {
    /// The setting of a seed: the weather is rough now and then.
    pub(crate) fn of(seed: u64) -> Self {
        let weather = if seed % 5 == 2 { Weather::rough() } else { Weather::default() };
        Self { weather, ..Self::default() }
    }
}

pub(crate) const LEASE: Duration = Duration::from_millis(500);
const TOKENS: usize = 3;

/// The processes, by address; who is there now.
#[derive(Clone, Default)]
pub(crate) struct Processes(Arc<Mutex<BTreeMap<usize, Arc<Process>>>>);

impl Processes {
    pub(crate) fn at(&self, address: usize) -> Option<Arc<Process>> {
        self.0.lock().unwrap().get(&address).cloned()
    }
}

pub(crate) struct World {
    this: OnceLock<Weak<World>>,
    pub(crate) setting: Setting,
    pub(crate) dice: Dice,
    addresses: usize,
    ring_max: usize,
    processes: Processes,
    /// All that were ever started and may still live: an address may have been taken over.
    all: Mutex<Vec<Arc<Process>>>,
    pub(crate) store: Faulty<Ledger>,
    pub(crate) ledger: Ledger,
    pub(crate) floors: Floors,
    pub(crate) principal: Principal,
    tokens: Mutex<Vec<Arc<TokenSecret>>>,
    versions: Mutex<BTreeMap<&'static str, u64>>,
    /// The versions of crates whose publishes were acknowledged.
    pub(crate) acknowledged: Mutex<BTreeMap<&'static str, Vec<String>>>,
    report: Mutex<Report>,
    ends: Instant,
}

/// Runs one seed on a paused clock.
pub(crate) fn run(seed: u64, setting: Setting) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async move {
        let world = World::new(seed, setting).await;
        for address in 0..world.addresses {
            world.start(address).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let clients = [
            tokio::spawn(world.clone().writers()),
            tokio::spawn(world.clone().readers()),
            tokio::spawn(world.clone().token_changes()),
            tokio::spawn(world.clone().faults()),
            tokio::spawn(world.clone().storms()),
        ];
        for client in clients {
            client.await.expect("no client panics");
        }
        world.end().await
    })
}

/// The wall clock, which decides nothing: it stands.
fn clock() -> Clock {
    Clock::from_fn(|| "2026-01-01T00:00:00Z".parse().expect("a time"))
}

impl World {
    async fn new(seed: u64, setting: Setting) -> Arc<Self> {
        let dice = Dice::new(seed);
        let ledger = Ledger::default();
        let store = Faulty::new(ledger.clone(), seed, Rates::default());
        // Before the faults: a registry with one user.
        let storage = Storage::Trusted(Arc::new(ledger.clone()));
        let entropy = Entropy::seeded(seed);
        let registry = Registry::new(&storage, Visibility::Public, clock(), entropy.clone());
        registry.open().await.expect("a new registry");
        let token = secret(&entropy);
        registry.put_token(token.hash(), new_token()).await.expect("no faults yet");
        let principal = registry.authenticate(token.expose()).await.expect("a good token");
        let world = Arc::new(Self {
            this: OnceLock::new(),
            setting,
            addresses: 2 + dice.index(3),
            ring_max: [2, 4, 16][dice.index(3)],
            dice,
            processes: Processes::default(),
            all: Mutex::default(),
            store,
            ledger,
            floors: Floors::default(),
            principal,
            tokens: Mutex::new((0..TOKENS).map(|_| secret(&entropy)).collect()),
            versions: Mutex::default(),
            acknowledged: Mutex::default(),
            report: Mutex::default(),
            ends: Instant::now() + setting.lasts,
        });
        world.this.set(Arc::downgrade(&world)).expect("set once");
        world
    }

    pub(crate) fn violation(&self, text: String) {
        self.report.lock().unwrap().violations.push(text);
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut Report)) {
        count(&mut self.report.lock().unwrap());
    }

    pub(crate) fn one_in(&self, n: u64) -> bool {
        self.dice.one_in(n)
    }

    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.ends || !self.report.lock().unwrap().violations.is_empty()
    }

    /// Starts a process at an address, in place of whoever is there.
    pub(crate) async fn start(&self, address: usize) {
        self.start_in(address, |_| ()).await;
    }

    /// The same, in trouble from its first step on.
    pub(crate) async fn start_in(&self, address: usize, trouble: impl FnOnce(&Process)) {
        // The extremes are likely.
        let place = [0.0, 1.0, self.dice.share()][self.dice.index(3)];
        let rate = self.setting.clock_ratio.powf(place - 0.5);
        let number = self.all.lock().unwrap().len();
        let process = Process::new(address, number, rate, LEASE, self.dice.clone());
        let (dice, weather) = (self.dice.clone(), self.setting.weather);
        let wire = StoreWire { process: process.clone(), store: self.store.clone(), dice: dice.clone(), weather };
        let processes = self.processes.clone();
        let replication = Replication {
            settings: Settings {
                lease: LEASE,
                address: address.to_string(),
                ring_max: self.ring_max,
                rules: self.setting.rules,
                ..Settings::default()
            },
            peers: Arc::new(PeerWire { process: process.clone(), processes, dice, weather }),
            time: Monotonic::from_ticks(LocalTime(process.clone())),
        };
        let storage = Storage::ToProve(Arc::new(wire));
        let entropy = Entropy::seeded(self.dice.below(u64::MAX));
        let registry = Arc::new(Registry::replicated(&storage, Visibility::Public, replication, clock(), entropy));
        trouble(&process);
        process.start(registry.clone());
        // Impatient now and then: a mark may be a living writer's.
        let pace = Pace { look_every: LEASE / 4, dead_after: self.dice.up_to(LEASE * 3) };
        let sweeps = Entropy::seeded(self.dice.below(u64::MAX));
        process.spawn(keep_swept(registry.clone(), pace, sweeps, CancellationToken::new()));
        self.all.lock().unwrap().push(process.clone());
        self.processes.0.lock().unwrap().insert(address, process.clone());
        process.spawn(async move {
            while !registry.open_now().await.is_proven() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            registry.keep_up(CancellationToken::new()).await;
        });
    }

    pub(crate) fn any_process(&self) -> Arc<Process> {
        self.processes.at(self.dice.index(self.addresses)).expect("every address has a process")
    }

    /// Several reads of a crate, at once and a little later, wherever something lives: news must not be followed by anything older.
    pub(crate) fn burst(&self, krate: &'static str) {
        self.everywhere(move |world, process| async move { world.read_index(process, krate).await });
    }

    pub(crate) fn burst_token(&self, token: &Arc<TokenSecret>) {
        let token = token.clone();
        self.everywhere(move |world, process| {
            let token = token.clone();
            async move { world.show_token(process, token).await }
        });
    }

    fn everywhere<F: Future<Output = ()> + Send + 'static>(
        &self,
        read: impl Fn(Arc<World>, Arc<Process>) -> F + Send + Sync + 'static,
    ) {
        let read = Arc::new(read);
        let living: Vec<_> = self.all.lock().unwrap().iter().filter(|process| process.is_alive()).cloned().collect();
        for process in living {
            for _ in 0..2 {
                let delay = match self.dice.below(3) {
                    0 => Duration::ZERO,
                    1 => self.dice.millis(0, 40),
                    _ => self.dice.up_to(LEASE),
                };
                let world = self.this.get().and_then(Weak::upgrade).expect("it runs");
                let (process, read) = (process.clone(), read.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    if process.is_alive() {
                        read(world, process).await;
                    }
                });
            }
        }
    }

    async fn writers(self: Arc<Self>) {
        while !self.is_over() {
            tokio::time::sleep(self.dice.millis(0, 500)).await;
            let krate = CRATES[self.dice.index(CRATES.len() * 2).min(CRATES.len() - 1)];
            let write = self.some_write(krate);
            // Somebody else may publish other bytes as the same version at the same time.
            if let Some(rival) = write.rival().filter(|_| self.dice.one_in(4)) {
                let (world, process, pause) = (self.clone(), self.any_process(), self.dice.millis(0, 60));
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    world.write(process, krate, rival).await;
                });
            }
            let (world, process) = (self.clone(), self.any_process());
            tokio::spawn(async move {
                // What a user does: repeat what failed, maybe elsewhere, and maybe after a change of the files.
                if !world.write(process, krate, write.clone()).await && !world.is_over() {
                    let changed = write.rival().filter(|_| world.dice.one_in(4));
                    world.write(world.any_process(), krate, changed.unwrap_or(write)).await;
                }
            });
        }
    }

    fn some_write(&self, krate: &'static str) -> Write {
        let mut versions = self.versions.lock().unwrap();
        let last = versions.entry(krate).or_default();
        match self.dice.below(6) {
            0 if *last > 0 => Write::Yank(format!("1.0.{}", 1 + self.dice.below(*last))),
            1 if *last > 0 => Write::AddOwner(format!("user{}", self.dice.below(1000))),
            _ => {
                *last += 1;
                Write::Publish(format!("1.0.{last}"), Bytes::First)
            }
        }
    }

    async fn readers(self: Arc<Self>) {
        while !self.is_over() {
            tokio::time::sleep(self.dice.millis(0, 50)).await;
            let (world, process) = (self.clone(), self.any_process());
            let krate = CRATES[self.dice.index(CRATES.len())];
            let what = self.dice.below(9);
            tokio::spawn(async move {
                match what {
                    0 => world.read_owners(process, krate).await,
                    1 | 2 => {
                        let token = world.tokens.lock().unwrap()[world.dice.index(TOKENS)].clone();
                        world.show_token(process, token).await;
                    }
                    3 => world.download(process, krate).await,
                    _ => world.read_index(process, krate).await,
                }
            });
        }
    }

    /// Makes tokens and revokes them.
    async fn token_changes(self: Arc<Self>) {
        let entropy = Entropy::seeded(self.dice.below(u64::MAX));
        while !self.is_over() {
            let which = self.dice.index(TOKENS);
            let token = self.tokens.lock().unwrap()[which].clone();
            for revoke in [false, true] {
                tokio::time::sleep(self.dice.millis(0, 700)).await;
                while !self.change_token(self.any_process(), &token, revoke).await {
                    if self.is_over() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            self.tokens.lock().unwrap()[which] = secret(&entropy);
        }
    }

    async fn end(&self) -> Report {
        let mut report = self.report.lock().unwrap().clone();
        self.all.lock().unwrap().drain(..).for_each(|process| process.dissolve());
        let books = self.ledger.books.lock().unwrap();
        report.violations.extend(books.violations.iter().cloned());
        report.heads = books.heads;
        report.sweeps = books.sweeps;
        report
    }
}
