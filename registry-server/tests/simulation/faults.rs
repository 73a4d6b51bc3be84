//! What befalls the processes and the store of a run.

use std::sync::Arc;
use std::time::Duration;

use supercargo_registry::store::faulty::Rates;
use tokio::time::Instant;

use crate::process::{Process, Trouble};
use crate::world::{LEASE, World};

impl World {
    /// One process after the other gets into trouble.
    pub(crate) async fn faults(self: Arc<Self>) {
        while !self.is_over() {
            tokio::time::sleep(self.dice.up_to(LEASE * 3 / 2)).await;
            let process = self.any_process();
            if process.is_leaving() || !process.is_alive() {
                continue;
            }
            if self.dice.one_in(self.setting.weather.lost_joins) {
                self.lose_join(process).await;
                continue;
            }
            let until = Instant::now() + self.dice.up_to(LEASE * 4);
            match self.dice.below(11) {
                0 => process.trouble(Trouble::Paused, Instant::now() + self.dice.up_to(LEASE * 2)),
                1 => process.trouble(Trouble::NoIncoming, until),
                2 => process.trouble(Trouble::NoOutgoing, until),
                3 => {
                    process.trouble(Trouble::NoIncoming, until);
                    process.trouble(Trouble::NoOutgoing, until);
                }
                4 => process.trouble(Trouble::NoStore, until),
                5 => self.crash(process),
                6 => self.take_over(process).await,
                7 => self.leave(process),
                // It lives on its lease alone.
                8 | 9 => {
                    process.trouble(Trouble::NoIncoming, until);
                    process.trouble(Trouble::NoStore, until);
                }
                _ => process.trouble(Trouble::Paused, Instant::now() + self.dice.up_to(LEASE / 2)),
            }
        }
    }

    fn crash(self: &Arc<Self>, process: Arc<Process>) {
        process.begin_to_leave();
        process.kill();
        let (world, pause) = (self.clone(), self.dice.up_to(LEASE * 2));
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            world.start(process.address).await;
        });
    }

    /// A new process joins, does not hear that it has, and is heard by nobody.
    async fn lose_join(self: &Arc<Self>, process: Arc<Process>) {
        process.begin_to_leave();
        process.kill();
        let trouble = |process: &Process, lasts: Duration| {
            process.trouble(Trouble::LostJoin, Instant::now() + Duration::from_secs(1));
            process.trouble(Trouble::NoIncoming, Instant::now() + lasts);
        };
        let lasts = self.dice.millis(1000, 4000);
        self.start_in(process.address, |process| trouble(process, lasts)).await;
    }

    /// A new process gets the address while the old one still serves.
    async fn take_over(self: &Arc<Self>, process: Arc<Process>) {
        self.start(process.address).await;
        let rest = self.dice.up_to(LEASE * 5);
        tokio::spawn(async move {
            tokio::time::sleep(rest).await;
            process.kill();
        });
    }

    fn leave(self: &Arc<Self>, process: Arc<Process>) {
        process.begin_to_leave();
        let world = self.clone();
        tokio::spawn(async move {
            let registry = process.registry();
            let _ = process.spawn(async move { registry.leave().await }).await;
            process.kill();
            tokio::time::sleep(world.dice.millis(0, 300)).await;
            world.start(process.address).await;
        });
    }

    /// Now and then the store is in a bad mood for a while.
    pub(crate) async fn storms(self: Arc<Self>) {
        while !self.is_over() {
            tokio::time::sleep(self.dice.millis(0, 6000)).await;
            let some = || 0.3 * self.dice.share();
            let rates = Rates {
                not_sent: some(),
                throttled: some(),
                conflict: some(),
                truncated: some() / 3.0,
                flipped: some() / 3.0,
                ..Rates::default()
            };
            self.store.set_rates(rates);
            tokio::time::sleep(self.dice.millis(0, 800)).await;
            self.store.set_rates(Rates::default());
        }
    }
}
