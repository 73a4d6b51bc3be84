//! Publishes: of new crates, into a crate with two thousand versions, one after the other and eight at once.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt};
use supercargo_registry::krate::packed::Packed;

use crate::{
    client::{Client, Target as To},
    data::{VAST, VAST_VERSIONS},
    field::Field,
    figures::Times,
    load::median,
    report::{Report, Row, Subject, Target, Unit},
};

/// Publishes that are timed one by one.
const PUBLISHES: usize = 200;
/// Publishes into the crate that has two thousand versions.
const INTO_VAST: usize = 40;
/// Publishes when several are under way.
const MANY: usize = 200;
/// How many are under way then.
const AT_ONCE: usize = 8;
/// How often each subject publishes that many; the median counts.
const ROUNDS: usize = 3;

pub(crate) async fn run(field: &Field, report: &mut Report) -> Result<()> {
    one_by_one(field, report).await?;
    into_vast(field, report).await?;
    at_once(field, report).await
}

fn targets(field: &Field) -> Vec<(Subject, To)> {
    let kellnr = field.kellnr.iter().map(|kellnr| (Subject::Kellnr, kellnr.target()));
    let ktra = field.ktra.iter().map(|ktra| (Subject::Ktra, ktra.target()));
    std::iter::once((Subject::Ours, field.target())).chain(kellnr).chain(ktra).collect()
}

async fn one_by_one(field: &Field, report: &mut Report) -> Result<()> {
    let (client, targets) = (Client::new(), targets(field));
    let mut times = vec![Times::default(); targets.len()];
    for number in 0..PUBLISHES {
        let packed = Packed::new(&format!("sequential-{number}"), "1.0.0");
        for ((_, target), times) in targets.iter().zip(&mut times) {
            settle().await?;
            times.add(client.publish(target, &packed).await?);
        }
    }
    let figures = targets.iter().zip(&times).map(|((subject, _), times)| (*subject, times.median() * 1e3)).collect();
    report.add(Row {
        work: "publish of a new crate, p50".to_owned(),
        unit: Unit::Millis,
        figures,
        targets: vec![Target::AtMost(1.0, Subject::Kellnr)],
    });
    Ok(())
}

async fn into_vast(field: &Field, report: &mut Report) -> Result<()> {
    let (client, target) = (Client::new(), field.target());
    let plan = field.plan(VAST)?;
    let mut times = vec![(Subject::Ours, Times::default()), (Subject::OursOtherwise, Times::default())];
    if field.kellnr.is_some() {
        times.push((Subject::Kellnr, Times::default()));
    }
    for number in 0..INTO_VAST {
        let packed = plan.packed(&format!("1.{}.0", VAST_VERSIONS + number));
        for (subject, times) in &mut times {
            settle().await?;
            let time = match (subject, &field.kellnr) {
                (Subject::OursOtherwise, _) => {
                    client.publish(&target, &Packed::new(&format!("beside-vast-{number}"), "1.0.0")).await?
                }
                (Subject::Kellnr, Some(kellnr)) => client.publish(&kellnr.target(), &packed).await?,
                _ => client.publish(&target, &packed).await?,
            };
            times.add(time);
        }
    }
    report.add(Row {
        work: format!("publish into {VAST_VERSIONS} versions, beside a new crate, p50"),
        unit: Unit::Millis,
        figures: times.iter().map(|(subject, times)| (*subject, times.median() * 1e3)).collect(),
        targets: vec![Target::AtMost(2.0, Subject::OursOtherwise)],
    });
    Ok(())
}

async fn at_once(field: &Field, report: &mut Report) -> Result<()> {
    let targets = targets(field);
    for (work, krates) in [("to distinct crates", MANY), ("to one crate", 1)] {
        let mut rates = vec![Vec::new(); targets.len()];
        for round in 0..ROUNDS {
            for turn in 0..targets.len() {
                // Whoever comes first in one round comes last in another.
                let subject = (turn + round) % targets.len();
                let packed = (0..MANY).map(|number| {
                    let (name, version) = (number % krates, number / krates);
                    Packed::new(&format!("parallel-{krates}-{round}-{name}"), &format!("1.{version}.0"))
                });
                settle().await?;
                rates[subject].push(rate(&targets[subject].1, packed.collect()).await?);
            }
        }
        let figures = targets.iter().zip(rates).map(|((subject, _), rates)| (*subject, median(rates))).collect();
        report.add(Row {
            work: format!("publishes, {AT_ONCE} at once, {work}"),
            unit: Unit::PerSecond,
            figures,
            targets: if krates == 1 { vec![] } else { vec![Target::AtLeast(3.0, Subject::Kellnr)] },
        });
    }
    Ok(())
}

/// Waits until nothing is left to be written to the disk: what others leave unwritten would be on the account of whoever waits for the disk next.
async fn settle() -> Result<()> {
    let done = tokio::process::Command::new("sync").status().await.context("starting sync")?;
    ensure!(done.success(), "sync: {done}");
    Ok(())
}

/// Publishes per second.
async fn rate(target: &To, packed: Vec<Packed>) -> Result<f64> {
    let client = Client::new();
    let count = packed.len() as f64;
    let begun = Instant::now();
    let publishes = packed.into_iter().map(|packed| {
        let client = client.clone();
        async move { client.publish(target, &packed).await }
    });
    let _: Vec<_> = futures::stream::iter(publishes).buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(count / begun.elapsed().as_secs_f64())
}
