//! All downloads so far, and which deltas are in it.
//!
//! Two gzip members: a line of JSON that says which deltas are in it, then a line per crate in the order of their names; `zcat` reads both. Adding
//! deltas copies the lines of all other crates as they are, so it takes no more memory for a large total than for a small one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::ops::RangeInclusive;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::counter::Delta;
use super::counts::{Counts, Versions, add_all, sum};
use super::rules::{Mutant, Rules};
use crate::krate::record::OpId;
use crate::store::Ulid;

/// A total is not read beyond this, in bytes.
pub const TOTAL_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// A counter is remembered for so many totals and so long after its last delta, whichever is later.
pub const GENERATIONS_KEPT: u64 = 720;
/// See [`GENERATIONS_KEPT`].
pub const NAMES_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How old a total is when deltas are added to it.
pub const FOLD_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// Most deltas that are added at once: an hour of 160 replicas.
pub const DELTAS_MAX: usize = 10_000;
/// What the first line may inflate to, in bytes.
const HEADER_BYTES_MAX: u64 = 64 * 1024 * 1024;
const FORMAT: u32 = 1;

/// One state of the total. Replaced only by compare-and-swap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    header: Header,
    /// The second member, as stored.
    crates: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    /// Identity of the write that made this state: it stands first and is random, so that no two states have the same bytes.
    op: OpId,
    format: u32,
    /// Number of this state, from 1.
    generation: u64,
    /// When it was made, by the clock of whoever did: only to decide when the next is due.
    folded_at: Timestamp,
    /// The last delta of each counter that is in it.
    counters: BTreeMap<Ulid, Mark>,
    /// Fields of a later version.
    #[serde(flatten)]
    extra: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// Deltas up to this number are in the total.
    number: u64,
    /// The state that added the last one, and when.
    generation: u64,
    at: Timestamp,
}

/// The deltas that a listing shows, by counter.
pub type Listed = BTreeMap<Ulid, BTreeSet<u64>>;

/// What is to be done with them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be added, each counter's in order and without a gap.
    pub fold: Vec<(Ulid, u64)>,
    /// They are in the total already.
    pub delete: Vec<(Ulid, u64)>,
    /// One before them is missing: they wait.
    pub waiting: usize,
}

/// Deltas that are gone, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Whose.
    pub counter: Ulid,
    /// Their numbers.
    pub missing: RangeInclusive<u64>,
    /// How many later ones of the counter wait for them.
    pub waiting: usize,
}

impl Total {
    /// The state before the first, which is never stored.
    #[must_use]
    pub fn empty() -> Self {
        let header = Header {
            op: "0".repeat(32).parse().expect("32 digits"),
            format: FORMAT,
            generation: 0,
            folded_at: Timestamp::UNIX_EPOCH,
            counters: BTreeMap::new(),
            extra: Map::new(),
        };
        Self { header, crates: gzip(|_| Ok(())).expect("memory takes everything") }
    }

    /// Reads a stored state; the lines of the crates are not looked at.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(object: &Bytes) -> Result<Self, String> {
        let mut rest = &object[..];
        let mut line = Vec::new();
        let decoder = flate2::bufread::GzDecoder::new(&mut rest);
        decoder.take(HEADER_BYTES_MAX).read_to_end(&mut line).map_err(|error| format!("its first line: {error}"))?;
        let header: Header = serde_json::from_slice(&line).map_err(|error| format!("its first line: {error}"))?;
        if header.format != FORMAT {
            return Err(format!("it has format {}, and this program knows format {FORMAT} only", header.format));
        }
        let crates = object.slice(object.len() - rest.len()..);
        Ok(Self { header, crates })
    }

    /// The bytes to store.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let header = gzip(|out| {
            serde_json::to_writer(&mut *out, &self.header)?;
            out.write_all(b"\n")
        });
        [header.expect("memory takes everything"), self.crates.clone()].concat().into()
    }

    /// Identity of the write that made this state.
    #[must_use]
    pub fn op(&self) -> &OpId {
        &self.header.op
    }

    /// Whether it is time to add what was counted since. Only to spare work: adding twice at the same time is harmless.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        // A time in the future comes from a wrong clock.
        now.duration_since(self.header.folded_at).abs() >= FOLD_AFTER
    }

    /// What is to be done with the deltas of a listing that was begun after this state was read.
    #[must_use]
    pub fn plan(&self, listed: &Listed, rules: Rules) -> Plan {
        let mut plan = Plan::default();
        for (counter, numbers) in listed {
            let mut last = self.header.counters.get(counter).map_or(0, |mark| mark.number);
            for number in numbers {
                if *number <= last {
                    plan.delete.push((*counter, *number));
                } else if (*number == last + 1 || rules.broken(Mutant::GapFolded)) && plan.fold.len() < DELTAS_MAX {
                    plan.fold.push((*counter, *number));
                    last = *number;
                } else {
                    plan.waiting += 1;
                }
            }
        }
        plan
    }

    /// Deltas that are neither in this state nor in a listing that was begun before it was read, although later ones of the same counter are
    /// listed: all of them.
    #[must_use]
    pub fn gaps(&self, listed: &Listed) -> Vec<Gap> {
        let mut gaps = Vec::new();
        for (counter, numbers) in listed {
            let mut next = self.header.counters.get(counter).map_or(1, |mark| mark.number.saturating_add(1));
            for number in numbers.range(next..) {
                if *number > next {
                    let waiting = numbers.range(number..).count();
                    gaps.push(Gap { counter: *counter, missing: next..=*number - 1, waiting });
                }
                next = number.saturating_add(1);
            }
        }
        gaps
    }

    /// The next state, with these deltas, which [`Total::plan`] has chosen from `listed`. Takes seconds for a large total.
    ///
    /// # Errors
    /// This state is damaged; what is wrong with it.
    pub fn with(
        &self,
        deltas: Vec<Delta>,
        listed: &Listed,
        op: OpId,
        now: Timestamp,
        rules: Rules,
    ) -> Result<Self, String> {
        let mut header = Header { op, generation: self.header.generation + 1, folded_at: now, ..self.header.clone() };
        let mut counts = Counts::default();
        for delta in deltas {
            let mark = Mark { number: delta.number, generation: header.generation, at: now };
            header.counters.insert(delta.counter, mark);
            counts.merge(delta.counts);
        }
        let generation = header.generation;
        header.counters.retain(|counter, mark| {
            let recent = generation - mark.generation <= GENERATIONS_KEPT || now.duration_since(mark.at) <= NAMES_KEPT;
            listed.contains_key(counter) || (recent && !rules.broken(Mutant::ForgottenAtOnce))
        });
        Ok(Self { header, crates: self.add(counts)? })
    }

    /// The wrong way to add to a state that somebody else has made meanwhile, for a test.
    pub(crate) fn with_blindly(&self, next: &Self, counts: Counts) -> Result<Self, String> {
        Ok(Self { header: next.header.clone(), crates: self.add(counts)? })
    }

    /// The lines of the crates, with more counted.
    fn add(&self, counts: Counts) -> Result<Bytes, String> {
        let mut more = counts.into_crates().peekable();
        let mut problem = None;
        let merged = gzip(|out| {
            problem = self
                .each(|line, krate| {
                    while let Some((name, versions)) = more.next_if(|(name, _)| name.as_str() < krate) {
                        write_line(out, &name, &versions)?;
                    }
                    match more.next_if(|(name, _)| name == krate) {
                        None => out.write_all(line)?,
                        Some((_, added)) => {
                            let (_, mut versions) = parse_line(line)?;
                            add_all(&mut versions, added);
                            write_line(out, krate, &versions)?;
                        }
                    }
                    Ok(())
                })
                .err();
            more.try_for_each(|(name, versions)| write_line(out, &name, &versions))
        });
        match problem {
            Some(problem) => Err(problem),
            None => merged.map_err(|error| error.to_string()),
        }
    }

    /// How often each crate was downloaded, by canonical name.
    ///
    /// # Errors
    /// It is damaged; what is wrong with it.
    pub fn sums(&self) -> Result<HashMap<String, u64>, String> {
        let mut sums = HashMap::new();
        self.each(|line, krate| {
            let (_, versions) = parse_line(line)?;
            sums.insert(krate.to_owned(), sum(&versions));
            Ok(())
        })?;
        Ok(sums)
    }

    /// How often each version of each crate was; for tests, as all of it is taken into memory.
    ///
    /// # Errors
    /// It is damaged; what is wrong with it.
    #[cfg(any(test, feature = "test-support"))]
    pub fn counts(&self) -> Result<BTreeMap<(String, String), u64>, String> {
        let mut counts = BTreeMap::new();
        self.each(|line, krate| {
            let (_, versions) = parse_line(line)?;
            counts.extend(versions.into_iter().map(|(version, count)| ((krate.to_owned(), version), count)));
            Ok(())
        })?;
        Ok(counts)
    }

    /// Calls `visit` with each line and its crate.
    fn each(&self, mut visit: impl FnMut(&[u8], &str) -> std::io::Result<()>) -> Result<(), String> {
        let mut lines = BufReader::new(GzDecoder::new(&self.crates[..]));
        let (mut line, mut before) = (Vec::new(), String::new());
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line).map_err(|error| error.to_string())? == 0 {
                return Ok(());
            }
            let krate = name_of(&line).ok_or_else(|| format!("the line after `{before}` is not a crate's"))?;
            if krate <= before.as_str() {
                return Err(format!("`{krate}` is not in order"));
            }
            visit(&line, krate).map_err(|error| error.to_string())?;
            krate.clone_into(&mut before);
        }
    }
}

/// The crate of a line, without reading all of it: names need no escape.
fn name_of(line: &[u8]) -> Option<&str> {
    let rest = line.strip_prefix(b"[\"")?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    str::from_utf8(&rest[..end]).ok().filter(|_| line.ends_with(b"]\n"))
}

fn parse_line(line: &[u8]) -> std::io::Result<(String, Versions)> {
    Ok(serde_json::from_slice(line)?)
}

fn write_line(out: &mut impl Write, krate: &str, versions: &Versions) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, &(krate, versions))?;
    out.write_all(b"\n")
}

fn gzip(write: impl FnOnce(&mut GzEncoder<Vec<u8>>) -> std::io::Result<()>) -> std::io::Result<Bytes> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    write(&mut out)?;
    Ok(out.finish()?.into())
}

#[cfg(test)]
mod tests;
