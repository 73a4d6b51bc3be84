//! `cargo fetch` of a graph of crates into an empty `CARGO_HOME`: what a CI job waits for.

use std::time::Instant;

use anyhow::Result;
use supercargo_tests::{
    cargo::{Home, Toolchain},
    scratch::{Package, Scratch},
};

use crate::{
    data::{self, GRAPH},
    field::Field,
    figures::Times,
    report::{Report, Row, Subject, Target, Unit},
};

/// How often; the first is not counted.
const FETCHES: usize = 4;

pub(crate) async fn run(field: &Field, report: &mut Report) -> Result<()> {
    let subjects = [(Subject::Ours, field.ours.base()), (Subject::Nginx, field.nginx.base())];
    let mut times = [Times::default(), Times::default()];
    for turn in 0..FETCHES {
        for (number, (_, base)) in subjects.iter().enumerate() {
            let time = fetch(base).await?;
            if turn > 0 {
                times[number].add(time);
            }
        }
    }
    let figures = subjects.iter().zip(&times).map(|((subject, _), times)| (*subject, times.median() * 1e3)).collect();
    report.add(Row {
        work: format!("cargo fetch of {GRAPH} crates"),
        unit: Unit::Millis,
        figures,
        targets: vec![Target::AtMost(1.25, Subject::Nginx)],
    });
    Ok(())
}

async fn fetch(base: &str) -> Result<std::time::Duration> {
    let index = format!("sparse+{base}/index/");
    let home = Home::with_registry(Toolchain::Workspace, "bench", &index, None)?;
    let scratch = Scratch::new()?;
    let needs = format!("[dependencies]\n{} = {{ version = \"1\", registry = \"bench\" }}", data::root());
    let directory = scratch.package("consumer", &Package::library("consumer", "0.1.0").tables(&needs))?;
    let begun = Instant::now();
    let run = home.cargo(&directory, "fetch").await?;
    let time = begun.elapsed();
    run.succeeded()?;
    Ok(time)
}
