//! When the disk is left alone, and when somebody is told. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// After a failed write: most have run out of space, which takes a while to mend. And after a call that did not come back: every other would make a user wait.
pub(super) const PAUSE: Duration = Duration::from_secs(30);
/// One log event in this time.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// How the disk was lately.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// When to use it again at all.
    again: Option<Instant>,
    write_again: Option<Instant>,
    said: Option<Instant>,
    unsaid: u64,
}

impl Health {
    /// Something went wrong; `hangs`: because the disk did not answer. `Some`: to be logged, with how many times it was not.
    pub(super) fn trouble(&mut self, operation: &str, hangs: bool, now: Instant) -> Option<u64> {
        if hangs {
            self.again = Some(now + PAUSE);
        }
        if operation == "write" || operation == "delete" {
            self.write_again = Some(now + PAUSE);
        }
        if self.said.is_some_and(|said| now < said + SAID_EVERY) {
            self.unsaid += 1;
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }

    /// Whether to try to read.
    pub(super) fn may_read(&self, now: Instant) -> bool {
        self.again.is_none_or(|again| now >= again)
    }

    /// Whether to try to write.
    pub(super) fn may_write(&self, now: Instant) -> bool {
        self.may_read(now) && self.write_again.is_none_or(|again| now >= again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_disk_is_left_alone_for_a_while_and_told_of_once() {
        let (mut health, begun) = (Health::default(), Instant::now());
        assert!(health.may_write(begun));
        assert_eq!(health.trouble("read", false, begun), Some(0));
        assert!(health.may_write(begun), "reading has nothing to do with it");
        assert_eq!(health.trouble("write", false, begun), None);
        assert!(!health.may_write(begun + PAUSE - Duration::from_millis(1)));
        assert!(health.may_read(begun), "nor it with reading");
        assert!(health.may_write(begun + PAUSE));
        assert_eq!(health.trouble("write", false, begun + SAID_EVERY - Duration::from_millis(1)), None);
        assert_eq!(health.trouble("write", false, begun + SAID_EVERY), Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_is_left_alone_altogether() {
        let (mut health, begun) = (Health::default(), Instant::now());
        assert_eq!(health.trouble("read", true, begun), Some(0));
        let just_before = begun + PAUSE - Duration::from_millis(1);
        assert!(!health.may_read(just_before) && !health.may_write(just_before));
        assert!(health.may_read(begun + PAUSE) && health.may_write(begun + PAUSE));
    }
}
