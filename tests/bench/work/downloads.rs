//! Crate files.

use anyhow::Result;

use crate::{
    data::{LARGE, SMALL, VAST},
    field::Field,
    load::{Request, in_turns},
    report::{Report, Row, Subject, Target, Unit},
};

pub(crate) async fn run(field: &Field, report: &mut Report, seconds: u32) -> Result<()> {
    let files = [
        ("5 KB", SMALL, vec![Target::AtLeast(0.9, Subject::Nginx)], false),
        ("5 MB", LARGE, vec![Target::AtLeast(1.0, Subject::Kellnr)], false),
        ("100 MB", VAST, vec![], true),
    ];
    for (size, name, targets, is_long) in files {
        let version = field.plan(name)?.newest();
        let path = format!("/api/v1/crates/{name}/{version}/download");
        let mut requests = vec![
            Request::get(Subject::Ours, format!("{}{path}", field.ours.base())),
            Request::get(Subject::Nginx, format!("{}{path}", field.nginx.base())),
        ];
        // Neither takes a crate of that length.
        let (kellnr, ktra) = (field.kellnr.iter().filter(|_| !is_long), field.ktra.iter().filter(|_| !is_long));
        requests.extend(kellnr.map(|kellnr| Request::get(Subject::Kellnr, kellnr.file(name, &version))));
        requests.extend(ktra.map(|ktra| Request::get(Subject::Ktra, ktra.file(name, &version))));
        if is_long {
            requests = requests.into_iter().map(|request| request.connections(2)).collect();
        }
        let before = field.ours.forget_peak()?;
        let figures = in_turns(&requests, if is_long { 2 * seconds } else { seconds }).await?;
        let more = field.ours.peak_bytes()?.saturating_sub(before) as f64 / 1e6;
        let work = format!("download of {size} (at most {more:+.1} MB of memory)");
        report.add(Row { work, unit: Unit::PerSecond, figures, targets });
    }
    Ok(())
}
