//! `s3.*`: a bucket, and the way to it.

use std::path::PathBuf;

use super::sources::Values;
use super::{BaseUrl, masked, read_path};

/// How to reach a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    /// Its name.
    pub bucket: String,
    /// The region that requests are signed for.
    pub region: String,
    /// Another server than AWS.
    pub endpoint: Option<String>,
    /// The same server as users reach it.
    pub public_endpoint: Option<String>,
    /// The bucket in the path instead of the host name.
    pub force_path_style: bool,
    /// PEM file with the authorities to trust.
    pub ca_bundle_file: Option<PathBuf>,
    /// A mounted Secret; `None` is the ambient chain.
    pub credentials_dir: Option<PathBuf>,
}

/// The URL of a server, and what it was understood as.
fn read_endpoint(values: &mut Values, key: &'static str) -> Option<(String, Option<BaseUrl>)> {
    let text = values.text(key)?;
    let url = BaseUrl::parse(&text);
    if let Err(reason) = &url {
        values.problem(values.place(key), format!("is \"{}\", {reason}", masked(&text)));
    }
    Some((text, url.ok()))
}

/// `None` if anything is missing or wrong; the problems then say what.
pub(super) fn read(values: &mut Values) -> Option<S3> {
    let endpoint = read_endpoint(values, "s3.endpoint").map(|(text, _)| text);
    let public = read_endpoint(values, "s3.public_endpoint");
    if let (Some((_, Some(public))), Some(own)) = (&public, values.text("public.url"))
        && BaseUrl::parse(&own).is_ok_and(|own| own.host() == public.host())
    {
        let text = "is at the host and port of public.url: Cargo would send its token there, which S3 refuses";
        values.problem(values.place("s3.public_endpoint"), text);
    }
    let force_path_style = values.parse("s3.force_path_style", |text| text.parse().ok());
    let Some(bucket) = values.text("s3.bucket") else {
        values.problem("the key \"s3.bucket\"", "is missing, and storage.kind is \"s3\"");
        return None;
    };
    Some(S3 {
        bucket,
        region: values.text("s3.region")?,
        endpoint,
        public_endpoint: public.map(|(text, _)| text),
        force_path_style: force_path_style?,
        ca_bundle_file: read_path(values, "s3.ca_bundle_file"),
        credentials_dir: read_path(values, "s3.credentials_dir"),
    })
}
