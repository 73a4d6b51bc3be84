//! One simulated process: a clock of its own, pauses, cuts, and a death that stops everything at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use supercargo_registry::ambient::Ticks;
use supercargo_registry::registry::Registry;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;

use crate::dice::Dice;

/// What may befall a process until some moment.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    /// It stands still.
    Paused,
    /// Its calls to the store, or their answers, are lost.
    NoStore,
    /// Nothing from other processes arrives.
    NoIncoming,
    /// Nothing to other processes arrives.
    NoOutgoing,
    /// Its next put of the head is carried out, its answer is lost, and so is everything else between it and the store for a while.
    LostJoin,
}

pub(crate) struct Process {
    /// Which address it listens on.
    pub(crate) address: usize,
    pub(crate) number: usize,
    rate: f64,
    offset: Duration,
    born: Instant,
    dice: Dice,
    /// The longest pauses, for the tails.
    lease: Duration,
    state: Mutex<State>,
    /// Taken away at the end of a run: it holds this process.
    registry: Mutex<Option<Arc<Registry>>>,
}

#[derive(Debug, Default)]
struct State {
    until: [Option<Instant>; 5],
    leaving: bool,
    dead: bool,
    tasks: Vec<AbortHandle>,
}

impl Process {
    pub(crate) fn new(address: usize, number: usize, rate: f64, lease: Duration, dice: Dice) -> Arc<Self> {
        let offset = Duration::from_millis(dice.below(1_000_000));
        let state = Mutex::default();
        Arc::new(Self {
            address,
            number,
            rate,
            offset,
            born: Instant::now(),
            dice,
            lease,
            state,
            registry: Mutex::default(),
        })
    }

    pub(crate) fn start(&self, registry: Arc<Registry>) {
        let before = self.registry.lock().unwrap().replace(registry);
        assert!(before.is_none(), "a process starts once");
    }

    pub(crate) fn registry(&self) -> Arc<Registry> {
        self.registry.lock().unwrap().clone().expect("it was started")
    }

    pub(crate) fn is_alive(&self) -> bool {
        !self.state.lock().unwrap().dead
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.state.lock().unwrap().leaving
    }

    pub(crate) fn begin_to_leave(&self) {
        self.state.lock().unwrap().leaving = true;
    }

    pub(crate) fn trouble(&self, trouble: Trouble, until: Instant) {
        self.state.lock().unwrap().until[trouble as usize] = Some(until);
    }

    pub(crate) fn is_in(&self, trouble: Trouble) -> bool {
        self.state.lock().unwrap().until[trouble as usize].is_some_and(|until| until > Instant::now())
    }

    pub(crate) fn end_trouble(&self, trouble: Trouble) {
        self.state.lock().unwrap().until[trouble as usize] = None;
    }

    /// Every step of a process goes through here: it takes none while it is paused, and now and then it is descheduled.
    pub(crate) async fn gate(&self) {
        if self.dice.one_in(50) {
            tokio::time::sleep(self.lease.mul_f64(2.0 * self.dice.share())).await;
        }
        loop {
            let until = self.state.lock().unwrap().until[Trouble::Paused as usize];
            match until {
                Some(until) if until > Instant::now() => tokio::time::sleep_until(until).await,
                _ => return,
            }
        }
    }

    /// Runs something that dies with the process.
    pub(crate) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        let handle = tokio::spawn(task);
        let mut state = self.state.lock().unwrap();
        if state.dead {
            handle.abort();
        } else {
            state.tasks.retain(|task| !task.is_finished());
            state.tasks.push(handle.abort_handle());
        }
        handle
    }

    pub(crate) fn kill(&self) {
        let mut state = self.state.lock().unwrap();
        state.dead = true;
        state.tasks.drain(..).for_each(|task| task.abort());
    }
}

impl Process {
    /// Forgets everything, at the end of a run.
    pub(crate) fn dissolve(&self) {
        self.kill();
        self.registry.lock().unwrap().take();
    }
}

/// The clock of a process, faster or slower than the world's.
pub(crate) struct LocalTime(pub(crate) Arc<Process>);

impl Ticks for LocalTime {
    fn now(&self) -> Duration {
        self.0.offset + self.0.born.elapsed().mul_f64(self.0.rate)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let process = self.0.clone();
        let world = duration.div_f64(process.rate);
        async move {
            tokio::time::sleep(world).await;
            process.gate().await;
        }
        .boxed()
    }
}
