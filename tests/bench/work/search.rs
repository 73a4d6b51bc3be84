//! Search over all crates.

use anyhow::Result;

use crate::{
    field::Field,
    load::{Request, in_turns},
    report::{Report, Row, Subject, Target, Unit},
};

pub(crate) async fn run(field: &Field, report: &mut Report, seconds: u32) -> Result<()> {
    for query in ["codec", "async-cache", "services"] {
        let mut requests =
            vec![Request::get(Subject::Ours, format!("{}/api/v1/crates?q={query}&per_page=10", field.ours.base()))];
        requests.extend(
            field
                .kellnr
                .iter()
                .map(|kellnr| Request::get(Subject::Kellnr, format!("{}?q={query}&per_page=10", kellnr.index()))),
        );
        let figures = in_turns(&requests, seconds).await?;
        let work = format!("search for `{query}` among {} crates", field.plans.len());
        report.add(Row { work, unit: Unit::PerSecond, figures, targets: vec![Target::AtLeast(30.0, Subject::Kellnr)] });
    }
    Ok(())
}
