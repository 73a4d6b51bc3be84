//! What one process counts, and the deltas that it stores.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::counts::Counts;
use crate::krate::Canonical;
use crate::store::{Key, Ulid};

/// A counter takes a new name after so long: if deltas of the old one cannot be added for some reason, that ends with it.
const NAME_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// A delta is not read beyond this, in bytes.
pub const DELTA_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What this process has counted and not stored yet.
#[derive(Debug)]
pub struct Counter {
    counting: Counts,
    /// The delta that is being stored.
    sending: Option<Delta>,
    name: Ulid,
    named_at: Duration,
    stored: u64,
}

/// Counts on their way into the total.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// Whose.
    pub counter: Ulid,
    /// From 1, without gaps.
    pub number: u64,
    /// What was counted.
    pub counts: Counts,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    counter: Ulid,
    number: u64,
    crates: Counts,
}

const FORMAT: u32 = 1;

impl Counter {
    /// Nothing counted yet. `name` never comes again.
    pub fn new(name: Ulid, now: Duration) -> Self {
        Self { counting: Counts::default(), sending: None, name, named_at: now, stored: 0 }
    }

    /// Counts a download.
    pub fn count(&mut self, krate: &Canonical, version: &str) {
        self.counting.add(krate, version, 1);
    }

    /// The delta to store: the one that is not stored for certain yet, or else what was counted since. `fresh` is a name that never
    /// comes again.
    pub fn next(&mut self, fresh: Ulid, now: Duration) -> Option<&Delta> {
        if self.sending.is_none() && !self.counting.is_empty() {
            if now.saturating_sub(self.named_at) > NAME_KEPT {
                (self.name, self.named_at, self.stored) = (fresh, now, 0);
            }
            let counts = std::mem::take(&mut self.counting);
            self.sending = Some(Delta { counter: self.name, number: self.stored + 1, counts });
        }
        self.sending.as_ref()
    }

    /// The delta is stored for certain. How many downloads are in it.
    pub fn stored(&mut self) -> u64 {
        self.stored += 1;
        self.sending.take().map_or(0, |delta| delta.counts.sum())
    }

    /// The wrong thing after an unknown outcome, for a test.
    pub(crate) fn renumber(&mut self) {
        self.stored += 1;
        if let Some(delta) = &mut self.sending {
            delta.number += 1;
        }
    }
}

impl Delta {
    /// Where it lies.
    pub fn key(&self) -> Key {
        Key::DownloadsDelta { counter: self.counter, number: self.number }
    }

    /// The bytes to store: the same every time.
    pub fn to_bytes(&self) -> Bytes {
        let (counter, number, crates) = (self.counter, self.number, self.counts.clone());
        let mut bytes = serde_json::to_vec(&Stored { format: FORMAT, counter, number, crates })
            .expect("texts and numbers always serialize");
        bytes.push(b'\n');
        bytes.into()
    }

    /// Reads the delta that lies under this key.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8], counter: Ulid, number: u64) -> Result<Self, String> {
        let stored: Stored = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if stored.format != FORMAT {
            return Err(format!("it has format {}, and this program knows format {FORMAT} only", stored.format));
        }
        if (stored.counter, stored.number) != (counter, number) {
            return Err(format!("it is number {} of {}", stored.number, stored.counter));
        }
        if !stored.crates.is_sound() {
            return Err("it names something that is no crate".to_owned());
        }
        Ok(Self { counter, number, counts: stored.crates })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Canonical {
        Canonical::parse(text).expect("a name")
    }

    #[test]
    fn a_delta_is_repeated_until_it_is_stored() {
        let mut counter = Counter::new(Ulid::from(1), Duration::ZERO);
        assert_eq!(counter.next(Ulid::from(9), Duration::ZERO), None);
        counter.count(&name("a"), "1.0.0");
        counter.count(&name("a"), "1.0.0");
        let first = counter.next(Ulid::from(9), Duration::ZERO).cloned().expect("counted");
        counter.count(&name("b"), "1.0.0");
        assert_eq!(counter.next(Ulid::from(9), Duration::ZERO), Some(&first));
        assert_eq!(counter.stored(), 2);
        let second = counter.next(Ulid::from(9), NAME_KEPT).cloned().expect("counted meanwhile");
        assert_eq!((second.counter, second.number, second.counts.sum()), (Ulid::from(1), 2, 1));
        counter.stored();
        counter.count(&name("b"), "1.0.0");
        let third = counter.next(Ulid::from(9), NAME_KEPT * 2).cloned().expect("counted");
        assert_eq!((third.counter, third.number), (Ulid::from(9), 1), "a new name begins anew");
    }

    #[test]
    fn the_stored_form() {
        let mut counts = Counts::default();
        counts.add(&name("a"), "1.0.0", 3);
        let delta = Delta { counter: Ulid::from(1), number: 2, counts };
        let text =
            "{\"format\":1,\"counter\":\"00000000000000000000000001\",\"number\":2,\"crates\":{\"a\":{\"1.0.0\":3}}}\n";
        assert_eq!(delta.to_bytes(), text);
        assert_eq!(Delta::parse(text.as_bytes(), Ulid::from(1), 2), Ok(delta));
        assert!(Delta::parse(text.as_bytes(), Ulid::from(1), 3).is_err(), "under another's key");
        assert!(Delta::parse(text.replace("\"a\"", "\"A b\"").as_bytes(), Ulid::from(1), 2).is_err());
    }
}
