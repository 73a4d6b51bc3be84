//! Calls that are shared by whoever needs the same thing at the same time, without anybody getting an answer to a question that was asked
//! before they came.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};

/// Calls under way, by what they ask for.
#[derive(Debug)]
pub struct Flights<K, T: Clone> {
    /// Share with late comers too: wrong, and for tests.
    share_late: bool,
    state: Mutex<State<K, T>>,
}

#[derive(Debug)]
struct State<K, T: Clone> {
    /// Counts arrivals and departures: the order of both.
    tickets: u64,
    under_way: HashMap<K, Flight<T>>,
}

#[derive(Debug)]
struct Flight<T: Clone> {
    begun: u64,
    call: WeakShared<BoxFuture<'static, T>>,
}

/// How a wait for a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landed<T> {
    /// The call began after the question was asked.
    Fresh(T),
    /// It had begun before: it may have seen less than the asker knows.
    Late,
}

/// When somebody asked.
#[derive(Debug, Clone, Copy)]
pub struct Arrival(u64);

impl<K: Eq + Hash + Clone, T: Clone + Send + Sync + 'static> Flights<K, T> {
    /// No call under way.
    pub fn new(share_late: bool) -> Self {
        Self { share_late, state: Mutex::new(State { tickets: 0, under_way: HashMap::new() }) }
    }

    /// Now.
    pub fn arrive(&self) -> Arrival {
        let mut state = self.lock();
        state.tickets += 1;
        Arrival(state.tickets)
    }

    /// Waits for the call under way, or begins one with `begin` and waits for that. Whoever is dropped in between leaves the call to the
    /// others.
    pub async fn join(&self, key: &K, arrival: Arrival, begin: impl FnOnce() -> BoxFuture<'static, T>) -> Landed<T> {
        let (begun, call) = self.board(key, begin);
        let result = call.await;
        let mut state = self.lock();
        if state.under_way.get(key).is_some_and(|flight| flight.begun == begun) {
            state.under_way.remove(key);
        }
        drop(state);
        if begun > arrival.0 || self.share_late { Landed::Fresh(result) } else { Landed::Late }
    }

    fn board(&self, key: &K, begin: impl FnOnce() -> BoxFuture<'static, T>) -> (u64, Shared<BoxFuture<'static, T>>) {
        let mut state = self.lock();
        let under_way =
            state.under_way.get(key).and_then(|flight| flight.call.upgrade().map(|call| (flight.begun, call)));
        if let Some(flight) = under_way {
            return flight;
        }
        state.tickets += 1;
        let begun = state.tickets;
        let call = begin().shared();
        let weak = call.downgrade().expect("it has not been polled yet");
        state.under_way.insert(key.clone(), Flight { begun, call: weak });
        (begun, call)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State<K, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    struct Bench {
        flights: Flights<&'static str, u32>,
        begun: Arc<AtomicU32>,
        go: Arc<Semaphore>,
    }

    impl Bench {
        fn new() -> Self {
            Self { flights: Flights::new(false), begun: Arc::default(), go: Arc::new(Semaphore::new(0)) }
        }

        async fn ask(&self, arrival: Arrival) -> Landed<u32> {
            let (begun, go) = (self.begun.clone(), self.go.clone());
            let begin = || {
                let number = begun.fetch_add(1, Ordering::SeqCst) + 1;
                async move {
                    go.acquire().await.expect("open").forget();
                    number
                }
                .boxed()
            };
            self.flights.join(&"k", arrival, begin).await
        }
    }

    #[tokio::test]
    async fn who_came_before_it_began_shares_a_call_and_who_came_later_asks_again() {
        let bench = Bench::new();
        let early = [bench.flights.arrive(), bench.flights.arrive()];
        let story = async {
            tokio::task::yield_now().await;
            let late = bench.flights.arrive();
            let open = async {
                tokio::task::yield_now().await;
                bench.go.add_permits(1);
            };
            let (landed, ()) = tokio::join!(bench.ask(late), open);
            assert_eq!(landed, Landed::Late);
            bench.go.add_permits(1);
            assert_eq!(bench.ask(late).await, Landed::Fresh(2));
        };
        let (one, two, ()) = tokio::join!(bench.ask(early[0]), bench.ask(early[1]), story);
        assert_eq!((one, two), (Landed::Fresh(1), Landed::Fresh(1)));
    }

    #[tokio::test]
    async fn a_call_that_everybody_left_is_begun_again() {
        let bench = Bench::new();
        let arrival = bench.flights.arrive();
        {
            let left = bench.ask(arrival);
            futures::pin_mut!(left);
            assert!(futures::poll!(left).is_pending());
        }
        bench.go.add_permits(1);
        assert_eq!(bench.ask(arrival).await, Landed::Fresh(2));
    }
}
