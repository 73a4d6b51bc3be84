//! The rows of a table that fit a search, and the page of them that is asked for, without sorting all the others.

use std::ops::Range;

use super::super::fit::Score;
use super::super::query::{Query, Sort, Word};
use super::{Changed, Table};

/// Where a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the base.
    Base(usize),
    /// Among the changed ones, in their order.
    Changed(usize),
}

/// The rows that fit. Nothing but their scores is kept: they are gone through as often as a page takes.
pub(super) struct Fitting<'t> {
    table: &'t Table,
    /// All rows, in the order of their names.
    stretches: Vec<Stretch>,
    /// Of the rows of the base; nothing where a word fits nowhere or the row may not be read. `None`: all that may be read fit.
    base: Option<Vec<Score>>,
    /// The changed rows, with theirs.
    changed: Vec<(&'t Changed, Option<Score>)>,
    readable: Option<&'t dyn Fn(&str) -> bool>,
}

/// Rows that stand together.
enum Stretch {
    Base(Range<usize>),
    Changed(usize),
}

impl<'t> Fitting<'t> {
    pub(super) fn of(table: &'t Table, words: &[Word], readable: Option<&'t dyn Fn(&str) -> bool>) -> Self {
        let may_read = |name: &str| readable.is_none_or(|readable| readable(name));
        let mut base = (!words.is_empty()).then(|| table.base.scores(words));
        if readable.is_some()
            && let Some(scores) = &mut base
        {
            for (row, score) in scores.iter_mut().enumerate() {
                if score.is_some() && !may_read(table.base.name(row)) {
                    *score = Score::default();
                }
            }
        }
        let changed = table.changed.iter().map(|(name, changed)| {
            let score = changed.texts.score(words).filter(|_| may_read(name.as_str()));
            (changed, score)
        });
        Self { stretches: stretches(table), base, changed: changed.collect(), table, readable }
    }

    /// All that may be read, in the order of their names.
    fn each(&self, mut visit: impl FnMut(Place, Score)) {
        for stretch in &self.stretches {
            match (stretch, &self.base) {
                (Stretch::Changed(number), _) => {
                    if let Some(score) = self.changed[*number].1 {
                        visit(Place::Changed(*number), score);
                    }
                }
                (Stretch::Base(rows), None) => {
                    let may_read =
                        |row: &usize| self.readable.is_none_or(|readable| readable(self.table.base.name(*row)));
                    rows.clone().filter(may_read).for_each(|row| visit(Place::Base(row), Score::default()));
                }
                (Stretch::Base(rows), Some(scores)) => {
                    for (score, row) in scores[rows.clone()].iter().zip(rows.clone()) {
                        if score.is_some() {
                            visit(Place::Base(row), *score);
                        }
                    }
                }
            }
        }
    }

    fn downloads(&self, place: Place) -> u64 {
        match place {
            Place::Base(row) => self.table.downloads[row],
            Place::Changed(number) => self.changed[number].0.downloads,
        }
    }

    fn updated(&self, place: Place) -> i64 {
        match place {
            Place::Base(row) => self.table.base.updated(row),
            Place::Changed(number) => self.changed[number].0.row.updated_at.as_second(),
        }
    }

    /// How many there are, and the page of them in the order of their names.
    pub(super) fn by_name(&self, query: &Query) -> (usize, Vec<Place>) {
        let (mut total, mut page) = (0, Vec::new());
        self.each(|place, _| {
            if total >= query.skip && page.len() < query.take {
                page.push(place);
            }
            total += 1;
        });
        (total, page)
    }

    /// The best first. How many have each score is counted first, so that only those have to be sorted whose score is on the page.
    pub(super) fn by_score(&self, query: &Query) -> (usize, Vec<Place>) {
        let mut counts = vec![0_usize; Score::COUNT];
        let mut total = 0;
        self.each(|_, score| {
            counts[score.number()] += 1;
            total += 1;
        });
        let (from, to) = (query.skip, query.skip.saturating_add(query.take));
        // The scores that are on the page, and how many rows are better than all of them.
        let (mut before, mut better) = (0, 0);
        let mut wanted: Option<(usize, usize)> = None;
        for score in (0..Score::COUNT).rev().filter(|score| counts[*score] > 0) {
            let after = before + counts[score];
            if after <= from {
                better = after;
            } else if before < to {
                wanted = Some((score, wanted.map_or(score, |(_, best)| best)));
            }
            before = after;
        }
        let mut candidates = Vec::new();
        if let Some((least, best)) = wanted {
            self.each(|place, score| {
                let score = score.number();
                if (least..=best).contains(&score) {
                    let key = (Score::COUNT - score) as u64;
                    candidates.push(((key, !self.downloads(place), candidates.len()), place));
                }
            });
        }
        (total, page_of(candidates, from - better.min(from), query.take))
    }

    /// The largest number first.
    pub(super) fn by_number(&self, query: &Query) -> (usize, Vec<Place>) {
        // Shifted so that the order of signed numbers is kept.
        let seconds = |place| self.updated(place) as u64 ^ 1 << 63;
        let mut candidates = Vec::new();
        self.each(|place, _| {
            let number = if query.sort == Sort::Downloads { self.downloads(place) } else { seconds(place) };
            candidates.push(((0, !number, candidates.len()), place));
        });
        (candidates.len(), page_of(candidates, query.skip, query.take))
    }
}

/// All rows, in the order of their names.
fn stretches(table: &Table) -> Vec<Stretch> {
    let mut stretches = Vec::with_capacity(table.changed.len() + table.gone.len() + 1);
    let mut gone = table.gone.iter().copied().peekable();
    let mut next = 0;
    let mut rows_until = |end: usize, stretches: &mut Vec<Stretch>| {
        while let Some(hidden) = gone.next_if(|hidden| *hidden < end) {
            stretches.push(Stretch::Base(next..hidden));
            next = hidden + 1;
        }
        stretches.push(Stretch::Base(next..end.max(next)));
        next = next.max(end);
    };
    for (number, changed) in table.changed.values().enumerate() {
        rows_until(changed.before, &mut stretches);
        stretches.push(Stretch::Changed(number));
    }
    rows_until(table.base.len(), &mut stretches);
    stretches
}

/// The places on one page, the smallest first. Of equals, those that came first.
fn page_of(mut candidates: Vec<((u64, u64, usize), Place)>, skip: usize, take: usize) -> Vec<Place> {
    let skip = skip.min(candidates.len());
    if skip > 0 && skip < candidates.len() {
        candidates.select_nth_unstable_by_key(skip, |(key, _)| *key);
    }
    let rest = &mut candidates[skip..];
    let take = take.min(rest.len());
    if take > 0 && take < rest.len() {
        rest.select_nth_unstable_by_key(take, |(key, _)| *key);
    }
    let page = &mut rest[..take];
    page.sort_unstable_by_key(|(key, _)| *key);
    page.iter().map(|(_, place)| *place).collect()
}
