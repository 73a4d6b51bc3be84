//! What was measured, as a table: one line per kind of work, with the ratio that its target is about.

use std::fmt::Write as _;

use crate::chart;

/// Who was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// The program under test.
    Ours,
    /// The same, with a token on every request, or otherwise asked differently; the line says how.
    OursOtherwise,
    /// nginx with the same files.
    Nginx,
    /// Kellnr with the same crates.
    Kellnr,
    /// Ktra with some of the same crates.
    Ktra,
    /// The store calls that our work is made of, by themselves.
    Calls,
}

impl Subject {
    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "Supercargo",
            Self::OursOtherwise => "compared with",
            Self::Nginx => "nginx",
            Self::Kellnr => "Kellnr",
            Self::Ktra => "Ktra",
            Self::Calls => "store calls alone",
        }
    }
}

/// What figures are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Answers per second; more is better.
    PerSecond,
    /// Milliseconds; less is better.
    Millis,
    /// Megabytes (10^6); less is better.
    Megabytes,
}

/// What a figure of ours should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// Ours over theirs, at least.
    AtLeast(f64, Subject),
    /// Ours over theirs, at most.
    AtMost(f64, Subject),
    /// Ours is at most theirs plus this.
    AtMostPlus(f64, Subject),
    /// Ours by itself, at most.
    Below(f64),
}

/// One kind of work.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Which.
    pub(crate) work: String,
    /// In what.
    pub(crate) unit: Unit,
    /// The median of each.
    pub(crate) figures: Vec<(Subject, f64)>,
    /// What should hold. Those about somebody who was not measured are left out.
    pub(crate) targets: Vec<Target>,
}

impl Row {
    /// The median of this subject.
    pub(crate) fn of(&self, subject: Subject) -> Option<f64> {
        self.figures.iter().find(|(who, _)| *who == subject).map(|(_, figure)| *figure)
    }

    /// Ours over theirs; more is better for us.
    pub(crate) fn lead_over(&self, subject: Subject) -> Option<f64> {
        let (ours, theirs) = (self.of(Subject::Ours)?, self.of(subject)?);
        Some(if self.unit == Unit::PerSecond { ours / theirs } else { theirs / ours })
    }

    fn figure(&self, figure: f64) -> String {
        match self.unit {
            Unit::PerSecond if figure >= 100.0 => format!("{figure:.0}/s"),
            Unit::PerSecond => format!("{figure:.1}/s"),
            Unit::Millis => format!("{figure:.2} ms"),
            Unit::Megabytes => format!("{figure:.1} MB"),
        }
    }

    /// The target in words, what was measured, and whether it holds; `None` if the other was not measured.
    fn verdict(&self, target: Target) -> Option<(String, bool)> {
        let ours = self.of(Subject::Ours)?;
        let ratio = |subject: Subject| self.of(subject).map(|theirs| ours / theirs);
        Some(match target {
            Target::AtLeast(least, subject) => {
                let ratio = ratio(subject)?;
                (format!("{ratio:.2} × {} (aim ≥ {least})", subject.name()), ratio >= least)
            }
            Target::AtMost(most, subject) => {
                let ratio = ratio(subject)?;
                (format!("{ratio:.2} × {} (aim ≤ {most})", subject.name()), ratio <= most)
            }
            Target::AtMostPlus(more, subject) => {
                let theirs = self.of(subject)?;
                let aim = self.figure(more);
                (format!("{:+.2} beside {} (aim ≤ +{aim})", ours - theirs, subject.name()), ours <= theirs + more)
            }
            Target::Below(most) => (format!("aim ≤ {}", self.figure(most)), ours <= most),
        })
    }

    fn others(&self) -> String {
        let others = self.figures.iter().filter(|(subject, _)| *subject != Subject::Ours);
        let texts: Vec<_> = others.map(|(who, figure)| format!("{} {}", who.name(), self.figure(*figure))).collect();
        texts.join(", ")
    }
}

/// All that was measured in one run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a line, and prints it.
    pub(crate) fn add(&mut self, row: Row) {
        let ours = row.of(Subject::Ours).map(|figure| row.figure(figure)).unwrap_or_default();
        println!("  {:<52} {ours:>12}   {}", row.work, row.others());
        for (text, holds) in row.targets.iter().filter_map(|target| row.verdict(*target)) {
            println!("  {:<52} {:>12}   {text}", "", if holds { "met" } else { "NOT MET" });
        }
        self.rows.push(row);
    }

    /// How many targets hold, and how many were looked at.
    pub(crate) fn met(&self) -> (usize, usize) {
        let verdicts = self.rows.iter().flat_map(|row| row.targets.iter().filter_map(|target| row.verdict(*target)));
        verdicts.fold((0, 0), |(met, all), (_, holds)| (met + usize::from(holds), all + 1))
    }

    /// The whole as Markdown. `head` says on what it was measured.
    pub(crate) fn markdown(&self, head: &str) -> String {
        let (met, all) = self.met();
        let mut text = format!(
            "# What the registry costs\n\nWritten by `cargo dev bench`, on loopback, medians of one run; {met} of {all} aims met. {head}\n\
             Only figures of one line may be compared: absolute times of one machine say little about another.\n\n\
             ![Supercargo over its peers](results.svg)\n\n| work | Supercargo | beside it | ratio and aim |\n|---|---:|---|---|\n"
        );
        for row in &self.rows {
            let ours = row.of(Subject::Ours).map(|figure| row.figure(figure)).unwrap_or_default();
            let verdicts: Vec<_> = row
                .targets
                .iter()
                .filter_map(|target| row.verdict(*target))
                .map(|(text, holds)| format!("{text}: {}", if holds { "met" } else { "**not met**" }))
                .collect();
            writeln!(text, "| {} | {ours} | {} | {} |", row.work, row.others(), verdicts.join("<br>"))
                .expect("a string");
        }
        text
    }

    /// The lead over the peers, as a picture.
    pub(crate) fn chart(&self) -> String {
        let bars = self.rows.iter().flat_map(|row| {
            [Subject::Nginx, Subject::Kellnr, Subject::Ktra].into_iter().filter_map(|peer| {
                let lead = row.lead_over(peer)?;
                Some(chart::Bar { work: row.work.clone(), peer, lead })
            })
        });
        chart::svg(&bars.collect::<Vec<_>>())
    }
}
