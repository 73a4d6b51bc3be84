//! Time and randomness as values, so that tests can fix both. Nothing else in the crate asks the wall clock or the
//! operating system's randomness.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Says what time it is; used only for what people read (`pubtime`, expiry, `created_at`), never to order writes.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The wall clock of the machine.
    pub fn system() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// A clock that asks `now` each time.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// A clock that only says how much time has passed on this machine, and goes on while the machine sleeps. Leases run by it; it is never
/// compared with another machine's.
#[derive(Clone)]
pub struct Monotonic(Arc<dyn Ticks>);

/// What is behind a [`Monotonic`].
pub trait Ticks: Send + Sync + 'static {
    /// The time since some moment in the past, the same one for the life of the process.
    fn now(&self) -> Duration;
    /// Ends when at least this much time has passed on a clock that may stand still while the machine sleeps: whoever needs a moment of
    /// [`Ticks::now`] has to look again.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

impl Monotonic {
    /// The machine's, `CLOCK_BOOTTIME` on Linux: a lease must not survive a suspended machine.
    pub fn system() -> Self {
        Self(Arc::new(BootTime))
    }

    /// Tokio's, which tests can pause.
    pub fn tokio() -> Self {
        Self(Arc::new(TokioTime(tokio::time::Instant::now())))
    }

    /// Any other.
    pub fn from_ticks(ticks: impl Ticks) -> Self {
        Self(Arc::new(ticks))
    }

    /// The time since some moment in the past.
    pub fn now(&self) -> Duration {
        self.0.now()
    }

    /// Ends when this much time has passed, or the machine has slept for longer.
    pub async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration).await;
    }

    /// Ends when [`Monotonic::now`] is at least `until`.
    pub async fn sleep_until(&self, until: Duration) {
        loop {
            let left = until.saturating_sub(self.now());
            if left.is_zero() {
                return;
            }
            self.sleep(left).await;
        }
    }
}

impl fmt::Debug for Monotonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Monotonic")
    }
}

struct BootTime;

impl Ticks for BootTime {
    fn now(&self) -> Duration {
        #[cfg(target_os = "linux")]
        let clock = rustix::time::ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        let clock = rustix::time::ClockId::Monotonic;
        let time = rustix::time::clock_gettime(clock);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

struct TokioTime(tokio::time::Instant);

impl Ticks for TokioTime {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Random numbers: tokens, operation ids, request ids, jitter. A cryptographic generator, also when seeded.
#[derive(Clone)]
pub struct Entropy(Arc<Mutex<StdRng>>);

impl Entropy {
    /// Seeded by the operating system.
    pub fn from_os() -> Self {
        Self(Arc::new(Mutex::new(rand::make_rng())))
    }

    /// The same numbers every time; for tests.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// Calls `draw` with the generator. `draw` must not wait for anything.
    pub fn with<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// 128 random bits.
    pub fn bits(&self) -> u128 {
        self.with(|rng| rng.random())
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy")
    }
}
