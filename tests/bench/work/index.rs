//! Index files and `config.json`: what Cargo asks for most.

use anyhow::{Context, Result};

use crate::{
    client::Client,
    data::{LARGE, SMALL, VAST},
    field::{Field, index_path},
    load::{Request, in_turns},
    report::{Report, Row, Subject, Target, Unit},
};

/// As Cargo sends it.
const GZIP: (&str, &str) = ("accept-encoding", "deflate, gzip");

pub(crate) async fn run(field: &Field, report: &mut Report, seconds: u32) -> Result<()> {
    for (crate_name, versions, over_kellnr) in [(SMALL, 1, 15.0), (LARGE, 100, 100.0), (VAST, 2_000, 100.0)] {
        let requests = files(field, crate_name)?;
        let targets = vec![Target::AtLeast(1.0, Subject::Nginx), Target::AtLeast(over_kellnr, Subject::Kellnr)];
        measure(report, &format!("index file, 200 gzip, {versions} versions"), &requests, targets, seconds).await?;
    }
    with_token(field, report, seconds).await?;
    not_modified(field, report, seconds).await?;
    small_answers(field, report, seconds).await?;
    http2(field, report, seconds).await
}

async fn measure(
    report: &mut Report,
    work: &str,
    requests: &[Request],
    targets: Vec<Target>,
    seconds: u32,
) -> Result<()> {
    let figures = in_turns(requests, seconds).await.with_context(|| work.to_owned())?;
    report.add(Row { work: work.to_owned(), unit: Unit::PerSecond, figures, targets });
    Ok(())
}

/// The same file of everybody.
fn files(field: &Field, name: &str) -> Result<Vec<Request>> {
    let path = index_path(name)?;
    let request = |subject, base: String| Request::get(subject, format!("{base}{path}")).header(GZIP.0, GZIP.1);
    let mut requests = vec![
        request(Subject::Ours, format!("{}/index", field.ours.base())),
        request(Subject::Nginx, format!("{}/index", field.nginx.base())),
    ];
    requests.extend(field.kellnr.iter().map(|kellnr| request(Subject::Kellnr, kellnr.index())));
    Ok(requests)
}

async fn with_token(field: &Field, report: &mut Report, seconds: u32) -> Result<()> {
    let url = format!("{}/index{}", field.ours.base(), index_path(SMALL)?);
    let request = |subject| Request::get(subject, url.clone()).header(GZIP.0, GZIP.1);
    let both = || [request(Subject::Ours).header("authorization", field.ours.token()), request(Subject::OursOtherwise)];
    let targets = || vec![Target::AtLeast(0.95, Subject::OursOtherwise)];
    measure(report, "index file with a token, beside without", &both(), targets(), seconds).await?;
    let etag = etag(&both()[0]).await?;
    let both = both().map(|request| request.header("if-none-match", &etag).status(304));
    measure(report, "index file, 304, with a token, beside without", &both, targets(), seconds).await
}

async fn etag(request: &Request) -> Result<String> {
    let answer = Client::new().get(&request.url, &request.headers).await?;
    Ok(answer.headers.get("etag").context("no ETag")?.to_str()?.to_owned())
}

async fn not_modified(field: &Field, report: &mut Report, seconds: u32) -> Result<()> {
    let (mut http1, mut http2) = (Vec::new(), Vec::new());
    for request in files(field, SMALL)?.into_iter().filter(|request| request.subject != Subject::Kellnr) {
        let etag = etag(&request).await?;
        let over_tls = file_over_tls(field, request.subject)?;
        http1.push(request.header("if-none-match", &etag).status(304));
        http2.push(over_tls.header("if-none-match", &etag).status(304));
    }
    let targets = || vec![Target::AtLeast(1.0, Subject::Nginx)];
    measure(report, "index file, 304", &http1, targets(), seconds).await?;
    measure(report, "index file, 304, HTTP/2 over TLS", &http2, targets(), seconds).await
}

async fn small_answers(field: &Field, report: &mut Report, seconds: u32) -> Result<()> {
    for (work, path, status) in
        [("missing crate, 404", index_path("bench-missing")?, 404), ("config.json", "/config.json".to_owned(), 200)]
    {
        let request = |subject, base: String| Request::get(subject, format!("{base}{path}")).status(status);
        let mut requests = vec![
            request(Subject::Ours, format!("{}/index", field.ours.base())),
            request(Subject::Nginx, format!("{}/index", field.nginx.base())),
        ];
        requests.extend(field.kellnr.iter().map(|kellnr| request(Subject::Kellnr, kellnr.index())));
        measure(report, work, &requests, vec![Target::AtLeast(1.0, Subject::Nginx)], seconds).await?;
    }
    Ok(())
}

async fn http2(field: &Field, report: &mut Report, seconds: u32) -> Result<()> {
    let requests = [file_over_tls(field, Subject::Ours)?, file_over_tls(field, Subject::Nginx)?];
    let targets = vec![Target::AtLeast(1.0, Subject::Nginx)];
    measure(report, "index file, 200 gzip, HTTP/2 over TLS", &requests, targets, seconds).await
}

fn file_over_tls(field: &Field, subject: Subject) -> Result<Request> {
    let base = if subject == Subject::Nginx { field.nginx.tls_base() } else { field.ours_tls.tls_base() };
    let url = format!("{base}/index{}", index_path(SMALL)?);
    Ok(Request::get(subject, url).header(GZIP.0, GZIP.1).http2())
}
