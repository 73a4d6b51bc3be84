//! Which crate records have to be read again. Time is an argument, on the process's own clock.
//!
//! A change is announced in the head before it is committed, so a read may find the state before it: under the mark of the writer, with a
//! lower `rev` than was announced. Then each search reads it again, and the background after a pause, until the commit is there or the mark is gone: so a search
//! misses nothing that was acknowledged before it came, however long its writer took. A writer that died leaves its mark, which is swept after a while.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::file::Current;
use crate::krate::Canonical;
use crate::krate::record::OpId;
use crate::replicas::head::Head;
use crate::store::Key;

/// The pause before the background reads a record again whose write is under way: doubling between these.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(4);
/// The pause for a record that cannot be read, for searches too.
const PAUSE_DAMAGED: Duration = Duration::from_secs(60);
/// After so many reads the background leaves a record to the searches: a writer that died asks nothing of an idle process.
const BACKGROUND_TRIES: u32 = 6;

/// A place in the sequence of announcements.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The number of the last announcement.
    pub seq: u64,
    /// Its identity: a head that was lost and begun again has others. `None` before the first announcement.
    pub op: Option<OpId>,
}

/// Nobody knows what changed: all records have to be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap;

/// A record that has to be read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Which.
    pub name: Canonical,
    /// What was announced.
    pub rev: u64,
    /// Whether a change by this process was acknowledged, or is about to be: then a search has to see it.
    pub own: bool,
    ticket: u64,
}

/// How a read ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// A state, or that there is none.
    State {
        /// Its `rev`; 0 for none.
        rev: u64,
        /// Whether a write is under way on it.
        marked: bool,
    },
    /// It is damaged, or withheld.
    Damaged,
    /// The store did not answer.
    Unknown,
}

/// What is known of changes.
#[derive(Debug, Default)]
pub struct Follow {
    registry: String,
    position: Position,
    pending: BTreeMap<Canonical, Pending>,
    tickets: u64,
}

#[derive(Debug, Default)]
struct Pending {
    rev: u64,
    own: bool,
    /// Of the last news: a read that began before it proves nothing.
    ticket: u64,
    tries: u32,
    /// The background waits until then.
    not_before: Duration,
    /// It was damaged: searches leave it out until then.
    damaged_until: Duration,
}

impl Pending {
    /// Whether a search has to read it first.
    fn is_wanted(&self, now: Duration) -> bool {
        self.own || self.damaged_until <= now
    }
}

impl Head {
    fn position(&self) -> Position {
        Position { seq: self.seq, op: self.ring.back().map(|last| last.op.clone()) }
    }
}

impl Follow {
    /// Goes on from a stored catalog.
    pub fn resume(&mut self, current: &Current) {
        self.registry.clone_from(&current.registry);
        self.position = current.covers.clone();
        for (name, rev) in &current.open {
            if let Some(name) = Canonical::parse(name) {
                self.news(name, *rev);
            }
        }
    }

    /// Goes on from a head, before all records are compared. What is pending stays so.
    pub fn restart(&mut self, head: Option<&Head>) {
        self.registry = head.map_or_else(String::new, |head| head.registry.clone());
        self.position = head.map(Head::position).unwrap_or_default();
    }

    /// The last announcement that was taken note of.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Takes note of what a head announces; `None`: there is no head.
    ///
    /// # Errors
    /// [`Gap`]: announcements were missed, or it is the head of another registry, or it was begun again.
    pub fn observe(&mut self, head: Option<&Head>) -> Result<(), Gap> {
        let Some(head) = head else {
            return if self.position == Position::default() { Ok(()) } else { Err(Gap) };
        };
        if self.registry.is_empty() && self.position == Position::default() {
            self.registry.clone_from(&head.registry);
        }
        if head.registry != self.registry || !self.leads_to(head) {
            return Err(Gap);
        }
        let before = self.position.seq;
        for announced in head.ring.iter().filter(|announced| announced.seq > before) {
            if let Some(Key::Crate(name)) = announced.key()
                && let Some(name) = Canonical::parse(name.as_str())
            {
                self.news(name, announced.rev);
            }
        }
        self.position = head.position();
        Ok(())
    }

    /// Whether the ring still has the last announcement that is known, so that nothing is missing after it.
    fn leads_to(&self, head: &Head) -> bool {
        match &self.position.op {
            None => self.position.seq == 0 && head.ring.front().is_none_or(|first| first.seq == 1),
            Some(op) => head.ring.iter().any(|announced| announced.seq == self.position.seq && announced.op == *op),
        }
    }

    /// This process has changed a record, or tried to.
    pub fn note_own(&mut self, name: Canonical) {
        self.news(name.clone(), 0);
        self.pending.entry(name).or_default().own = true;
    }

    /// Another process says that it is about to commit this change, and waits for our answer.
    pub fn noticed(&mut self, name: Canonical, rev: u64) {
        self.news(name, rev);
    }

    /// A record was found with a mark, or damaged.
    pub fn note(&mut self, name: Canonical, rev: u64, seen: Reading, now: Duration) {
        self.news(name.clone(), rev);
        let ticket = self.tickets;
        self.read(&Due { name, rev, own: false, ticket }, seen, now);
    }

    fn news(&mut self, name: Canonical, rev: u64) {
        self.tickets += 1;
        let pending = self.pending.entry(name).or_default();
        pending.rev = pending.rev.max(rev);
        pending.ticket = self.tickets;
        pending.tries = 0;
        pending.not_before = Duration::ZERO;
        pending.damaged_until = Duration::ZERO;
    }

    /// Whether nothing has to be read before a search, and nothing is announced that is not known.
    pub fn is_current(&self, head: Option<&Head>, now: Duration) -> bool {
        let known = head.is_none_or(|head| head.seq == self.position.seq && head.registry == self.registry);
        known && self.pending.values().all(|pending| !pending.is_wanted(now))
    }

    /// What has to be read now: for a search, or by the background.
    pub fn due(&self, now: Duration, for_search: bool) -> Vec<Due> {
        let wanted = |pending: &Pending| {
            pending.own
                || (for_search && pending.is_wanted(now))
                || (pending.not_before <= now && pending.tries < BACKGROUND_TRIES)
        };
        let due = |(name, pending): (&Canonical, &Pending)| Due {
            name: name.clone(),
            rev: pending.rev,
            own: pending.own,
            ticket: pending.ticket,
        };
        self.pending.iter().filter(|(_, pending)| wanted(pending)).map(due).collect()
    }

    /// Takes note of what a read found, after that is in the table.
    pub fn read(&mut self, due: &Due, seen: Reading, now: Duration) {
        let Some(pending) = self.pending.get_mut(&due.name) else { return };
        if pending.ticket != due.ticket {
            return;
        }
        match seen {
            Reading::State { rev, marked } if rev >= pending.rev || !marked => {
                self.pending.remove(&due.name);
                return;
            }
            Reading::Damaged => {
                pending.own = false;
                pending.damaged_until = now + PAUSE_DAMAGED;
                pending.not_before = pending.damaged_until;
            }
            Reading::State { .. } | Reading::Unknown => {
                pending.own &= seen == Reading::Unknown;
                pending.not_before = now + PAUSE_MAX.min(PAUSE_FIRST * 2u32.saturating_pow(pending.tries));
            }
        }
        pending.tries += 1;
    }

    /// How many records have to be read again.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The records that have to be read again, with what was announced: for the next reader of a stored catalog.
    pub fn open(&self) -> Vec<(String, u64)> {
        self.pending.iter().map(|(name, pending)| (name.as_str().to_owned(), pending.rev)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::krate::record::OpId;

    const NOW: Duration = Duration::from_secs(100);

    fn op(number: u64) -> OpId {
        format!("{number:032x}").parse().expect("digits")
    }

    fn name(text: &str) -> Canonical {
        Canonical::parse(text).expect("a name")
    }

    struct Announcer(Head);

    impl Announcer {
        fn new(registry: &str) -> Self {
            Self(Head::empty(registry).next(op(0), registry))
        }

        fn announce(&mut self, krate: &str, rev: u64) -> &Head {
            let number = self.0.seq + 1;
            self.0.announce(&Key::krate(krate).expect("a name"), rev, op(number), 3);
            &self.0
        }
    }

    fn names(due: &[Due]) -> Vec<&str> {
        due.iter().map(|due| due.name.as_str()).collect()
    }

    #[test]
    fn a_change_is_read_by_each_search_until_it_is_committed() {
        let (mut follow, mut head) = (Follow::default(), Announcer::new("r"));
        follow.observe(None).expect("nothing yet");
        follow.observe(Some(head.announce("a", 5))).expect("no gap");
        let mut now = NOW;
        for _ in 0..100 {
            assert!(!follow.is_current(Some(&head.0), now));
            let due = follow.due(now, true);
            assert_eq!((names(&due), due[0].rev), (vec!["a"], 5));
            follow.read(&due[0], Reading::State { rev: 4, marked: true }, now);
            assert_eq!(follow.due(now, false), [], "the background waits for a moment");
            assert_eq!(follow.open(), [("a".to_owned(), 5)]);
            now += Duration::from_secs(1);
        }
        // A notice says the same, and the head may come later.
        follow.noticed(name("b"), 2);
        let due = follow.due(now, true);
        assert_eq!(names(&due), ["a", "b"]);
        follow.read(&due[0], Reading::State { rev: 5, marked: true }, now);
        follow.read(&due[1], Reading::State { rev: 2, marked: false }, now);
        assert!(follow.is_current(Some(&head.0), now) && follow.pending() == 0);
    }

    #[test]
    fn a_mark_that_is_gone_ends_it_and_a_dead_writers_is_left_to_the_searches() {
        let (mut follow, mut head) = (Follow::default(), Announcer::new("r"));
        follow.observe(Some(head.announce("a", 5))).expect("no gap");
        let mut now = NOW;
        for _ in 0..BACKGROUND_TRIES {
            let due = follow.due(now, false);
            follow.read(&due[0], Reading::State { rev: 4, marked: true }, now);
            now += PAUSE_MAX;
        }
        assert_eq!(names(&follow.due(now, false)), Vec::<&str>::new());
        let due = follow.due(now, true);
        follow.read(&due[0], Reading::State { rev: 4, marked: false }, now);
        assert_eq!(follow.open(), []);
    }

    #[test]
    fn a_read_that_began_before_the_news_proves_nothing() {
        let mut follow = Follow::default();
        follow.note_own(name("a"));
        let due = follow.due(NOW, true);
        follow.note_own(name("a"));
        follow.read(&due[0], Reading::State { rev: 9, marked: false }, NOW);
        assert!(!follow.is_current(None, NOW), "an own change has to be seen");
        let due = follow.due(NOW, true);
        follow.read(&due[0], Reading::Unknown, NOW);
        assert!(!follow.is_current(None, NOW) && follow.due(NOW, true)[0].own, "still");
        follow.read(&due[0], Reading::State { rev: 9, marked: false }, NOW);
        assert!(follow.is_current(None, NOW));
    }

    #[test]
    fn a_damaged_record_is_looked_at_again_after_a_minute() {
        let mut follow = Follow::default();
        follow.note(name("a"), 0, Reading::Damaged, NOW);
        assert!(follow.is_current(None, NOW) && follow.due(NOW, true).is_empty());
        assert_eq!(names(&follow.due(NOW + PAUSE_DAMAGED, true)), ["a"]);
    }

    #[test]
    fn gaps_are_noticed() {
        let mut head = Announcer::new("r");
        let start = |head: &Head| {
            let mut follow = Follow::default();
            follow.restart(Some(head));
            follow
        };
        for number in 1..=3 {
            head.announce("a", number);
        }
        let mut follow = start(&head.0);
        head.announce("b", 1);
        head.announce("c", 1);
        assert_eq!(follow.observe(Some(&head.0)), Ok(()), "the ring still has what is known");
        assert_eq!(follow.open(), [("b".to_owned(), 1), ("c".to_owned(), 1)]);
        (0..3).for_each(|number| _ = head.announce("d", number));
        assert_eq!(follow.observe(Some(&head.0)), Err(Gap), "the ring has gone on");

        let mut follow = start(&head.0);
        assert_eq!(follow.observe(None), Err(Gap), "the head is gone");
        let mut other = Announcer::new("other");
        (0..9).for_each(|_| _ = other.announce("a", 1));
        assert_eq!(follow.observe(Some(&other.0)), Err(Gap), "another registry");
        let mut again = Announcer::new("r");
        again.0.seq = head.0.seq - 1;
        again.announce("x", 1);
        again.0.ring.back_mut().expect("one").op = op(77);
        assert_eq!(follow.observe(Some(&again.0)), Err(Gap), "begun again, and just as far");
        assert_eq!(start(&head.0).observe(Some(&head.0)), Ok(()));
    }
}
