//! Memory: idle, after load, per cached crate; and the time to readiness.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt};

use crate::{
    client::Client,
    field::{Field, index_path},
    figures::Times,
    report::{Report, Row, Subject, Target, Unit},
    server::{Place, Program, Storage},
};

/// Starts that are timed.
const STARTS: usize = 20;
/// Requests at once.
const AT_ONCE: usize = 32;

/// Starts on an empty directory, nothing else running.
pub(crate) async fn starts(program: &Program, report: &mut Report) -> Result<()> {
    let mut times = Times::default();
    let mut idle = Vec::new();
    for _ in 0..STARTS {
        let server = program.start(Place::new(Storage::File).await?).await?;
        times.add(server.started_in());
        idle.push(server.resident_bytes()? as f64 / 1e6);
        server.stop().await?;
    }
    report.add(Row {
        work: "start to ready, on files".to_owned(),
        unit: Unit::Millis,
        figures: vec![(Subject::Ours, times.median() * 1e3)],
        targets: vec![Target::Below(30.0)],
    });
    report.add(Row {
        work: "resident, idle".to_owned(),
        unit: Unit::Megabytes,
        figures: vec![(Subject::Ours, crate::load::median(idle))],
        targets: vec![Target::Below(15.0)],
    });
    Ok(())
}

/// The index file of every crate once: what stays in memory.
pub(crate) async fn cached(field: &Field, report: &mut Report) -> Result<()> {
    let before = settled(field).await?;
    read_all(field).await?;
    let more = settled(field).await?.saturating_sub(before) as f64 / 1e6;
    report.add(Row {
        work: format!("resident, per 1,000 of {} cached crates", field.plans.len()),
        unit: Unit::Megabytes,
        figures: vec![(Subject::Ours, more * 1000.0 / field.plans.len() as f64)],
        targets: vec![Target::Below(5.0)],
    });
    Ok(())
}

async fn read_all(field: &Field) -> Result<()> {
    let client = Client::new();
    let base = field.ours.base();
    let reads = field.plans.iter().map(|plan| {
        let (client, base) = (&client, &base);
        async move {
            let url = format!("{base}/index{}", index_path(&plan.name)?);
            let answer = client.get(&url, &[("accept-encoding", "gzip".to_owned())]).await?;
            ensure!(answer.status == 200, "{url}: {}", answer.status);
            Ok(())
        }
    });
    futures::stream::iter(reads).buffer_unordered(AT_ONCE).try_collect().await
}

/// What the registry holds once its allocator has given back what is free, which it does after half a second.
async fn settled(field: &Field) -> Result<u64> {
    tokio::time::sleep(Duration::from_secs(2)).await;
    field.ours.resident_bytes()
}

/// What everybody holds when all is done.
pub(crate) fn after_load(field: &Field, report: &mut Report) -> Result<()> {
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let mut figures = vec![
        (Subject::Ours, megabytes(field.ours.resident_bytes()?)),
        (Subject::Nginx, megabytes(field.nginx.process().resident_bytes()?)),
    ];
    if let Some(kellnr) = &field.kellnr {
        figures.push((Subject::Kellnr, megabytes(kellnr.process().resident_bytes()?)));
    }
    if let Some(ktra) = &field.ktra {
        figures.push((Subject::Ktra, megabytes(ktra.process().resident_bytes()?)));
    }
    report.add(Row {
        work: "resident, after all reads".to_owned(),
        unit: Unit::Megabytes,
        figures,
        targets: Vec::new(),
    });
    Ok(())
}
