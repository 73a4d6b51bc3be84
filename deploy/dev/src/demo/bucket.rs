//! What lies in the bucket, asked of the S3 server itself: nothing of ours is needed to read it.

use anyhow::{Context, Result, bail};

use crate::process::Run;

/// The SHA-256 of no bytes: S3 wants it in a header, and curl before version 8 sends it only when told.
const NO_BODY: &str = "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// An object of a bucket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// Its key.
    pub(crate) key: String,
    /// Its size in bytes.
    pub(crate) size: u64,
}

/// Where a bucket is and who may list it.
pub(crate) struct Bucket<'a> {
    /// `http://address:port` as this machine reaches the S3 server.
    pub(crate) endpoint: &'a str,
    /// Name of the bucket.
    pub(crate) name: &'a str,
    /// Access key and secret key.
    pub(crate) credentials: (&'a str, &'a str),
}

impl Bucket<'_> {
    /// The first thousand objects. `curl` signs the request, so that no S3 library is built for one call.
    pub(crate) async fn list(&self) -> Result<Vec<Object>> {
        let (access, secret) = self.credentials;
        let url = format!("{}/{}?list-type=2", self.endpoint, self.name);
        // From standard input: arguments are for everyone on this machine to see.
        let secrets = format!("user = \"{access}:{secret}\"\n");
        let answer = Run::new("curl")
            .args(["--config", "-", "--silent", "--show-error", "--max-time", "20"])
            .args(["--aws-sigv4", "aws:amz:us-east-1:s3", "--header", NO_BODY, "--write-out", "\n%{http_code}"])
            .arg(url)
            .stdin(secrets)
            .output()
            .await?;
        let (body, status) = answer.rsplit_once('\n').context("curl said nothing")?;
        if status != "200" {
            bail!("listing bucket {} at {}: {status} {body}", self.name, self.endpoint);
        }
        parse(body)
    }
}

/// `<Contents><Key>…</Key>…<Size>…</Size>…</Contents>`, the part of ListObjectsV2's answer that people want to see.
fn parse(xml: &str) -> Result<Vec<Object>> {
    xml.split("<Contents>")
        .skip(1)
        .map(|part| {
            let text = |tag: &str| {
                let (_, rest) = part.split_once(&format!("<{tag}>"))?;
                Some(rest.split_once("</")?.0.to_owned())
            };
            let size = text("Size").context("an object without Size")?;
            Ok(Object { key: text("Key").context("an object without Key")?, size: size.parse()? })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_s3_is_read() {
        let xml = "<ListBucketResult><Name>b</Name><Contents><ETag>e</ETag><Key>v1/meta/format</Key><Size>17</Size></Contents>\
                   <Contents><Key>v1/crate/aa/x</Key><Size>5</Size></Contents></ListBucketResult>";
        let found = parse(xml).expect("a good answer");
        assert_eq!(found[0], Object { key: "v1/meta/format".into(), size: 17 });
        assert_eq!(found.len(), 2);
        assert!(parse("<Contents><Key>k</Key></Contents>").is_err());
    }
}
