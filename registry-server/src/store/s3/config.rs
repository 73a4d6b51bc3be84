//! What the S3 adapter needs to know, and how a wrong value is told.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::config::masked;
use crate::store::KeyPrefix;

/// A bucket and the way to it.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// The bucket's name.
    pub bucket: String,
    /// The region that requests are signed for. Most S3-compatible servers take `us-east-1`.
    pub region: String,
    /// The server's URL (`https://minio.storage:9000`). None: AWS, by region.
    pub endpoint: Option<String>,
    /// The server's URL as those reach it who are sent there for large objects. None: nobody is.
    pub public_endpoint: Option<String>,
    /// What the registry's keys are put below.
    pub prefix: KeyPrefix,
    /// Whether the bucket is the first part of the path (`https://host/bucket/key`) instead of the host name. Servers without wildcard
    /// DNS need it.
    pub force_path_style: bool,
    /// PEM file with the certificate authorities to trust for the endpoint, instead of the system's.
    pub ca_bundle_file: Option<PathBuf>,
    /// Who asks.
    pub credentials: S3Credentials,
    /// How long to wait.
    pub timeouts: S3Timeouts,
}

/// Where the credentials come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum S3Credentials {
    /// A directory with the files `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, for temporary credentials, `AWS_SESSION_TOKEN`: a mounted
    /// Secret. Read anew every few seconds, and at once when S3 refuses what was read last, so that a rotation needs no restart.
    Directory(PathBuf),
    /// The SDK's chain: environment variables, shared files, web identity (IRSA), container and instance metadata.
    Ambient,
}

/// Deadlines. A store that does not answer must not hold a request for ever.
#[derive(Debug, Clone, Copy)]
pub struct S3Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For one attempt, from its first byte to the head of the answer, without the time for the request's body.
    pub attempt: Duration,
    /// The slowest upload that is waited for, in bytes per second: a put may take `attempt` and the length divided by this.
    pub upload_bytes_per_sec_min: u64,
    /// How long a download may stand still.
    pub download_stall: Duration,
}

impl Default for S3Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            attempt: Duration::from_secs(10),
            upload_bytes_per_sec_min: 512 * 1024,
            download_stall: Duration::from_secs(10),
        }
    }
}

/// Why a client cannot be built, in the words of whoever configured it. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum S3ConfigError {
    /// Not a bucket name.
    #[error(
        "`{0}` cannot be a bucket's name: 3 to 63 of a-z, 0-9, `-` and `.`, beginning and ending with a letter or digit"
    )]
    Bucket(String),
    /// An empty region.
    #[error("the region is empty; most S3-compatible servers take us-east-1")]
    Region,
    /// Not an endpoint.
    #[error(
        "the endpoint `{endpoint}` is not usable: {problem}; it looks like https://s3.example.com or http://10.0.0.5:9000"
    )]
    Endpoint {
        /// As configured, without what may be a password.
        endpoint: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The CA bundle cannot be used.
    #[error("the CA bundle {}: {problem}", path.display())]
    CaBundle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The directory with the credentials cannot be used.
    #[error("the credentials in {}: {problem}", path.display())]
    Credentials {
        /// The directory.
        path: PathBuf,
        /// Which file, and what is wrong with it.
        problem: String,
    },
    /// The machine has no certificate authorities, and HTTPS needs them.
    #[error(
        "this machine has no CA certificates, so no HTTPS server can be trusted: install ca-certificates, set SSL_CERT_FILE, or configure a CA bundle"
    )]
    NoRoots,
}

impl S3Config {
    /// Looks at what can be judged without sending anything.
    pub fn check(&self) -> Result<(), S3ConfigError> {
        let bucket = self.bucket.as_bytes();
        let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let valid = (3..=63).contains(&bucket.len())
            && bucket.iter().all(|b| plain(b) || matches!(b, b'-' | b'.'))
            && bucket.first().is_some_and(plain)
            && bucket.last().is_some_and(plain);
        if !valid {
            return Err(S3ConfigError::Bucket(self.bucket.clone()));
        }
        if self.region.is_empty() {
            return Err(S3ConfigError::Region);
        }
        for endpoint in [&self.endpoint, &self.public_endpoint].into_iter().flatten() {
            check_endpoint(endpoint)?;
        }
        Ok(())
    }

    /// The endpoint, for messages.
    pub(super) fn endpoint_label(&self) -> String {
        self.endpoint.clone().unwrap_or_else(|| format!("AWS S3, {}", self.region))
    }

    /// Whether all that is sent goes over plain HTTP: then no CA is needed. (Ambient credentials may ask others over HTTPS.)
    pub(super) fn is_plain_http(&self) -> bool {
        self.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"))
            && matches!(self.credentials, S3Credentials::Directory(_))
    }

    /// The CA bundle, checked: the HTTP client would panic on a certificate that it cannot read.
    pub(super) fn ca_bundle(&self) -> Result<Option<Vec<u8>>, S3ConfigError> {
        self.ca_bundle_file.as_deref().map(read_ca_bundle).transpose()
    }
}

fn check_endpoint(endpoint: &str) -> Result<(), S3ConfigError> {
    let refuse = |problem: String| Err(S3ConfigError::Endpoint { endpoint: masked(endpoint), problem });
    let uri: http::Uri = match endpoint.parse() {
        Ok(uri) => uri,
        Err(err) => return refuse(err.to_string()),
    };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return refuse("it must begin with http:// or https://".to_owned());
    }
    if endpoint.contains('@') {
        return refuse("credentials do not belong into it".to_owned());
    }
    if uri.query().is_some() || !matches!(uri.path(), "" | "/") {
        return refuse("it must end with the host or port, the bucket and the prefix are configured apart".to_owned());
    }
    Ok(())
}

fn read_ca_bundle(path: &Path) -> Result<Vec<u8>, S3ConfigError> {
    let refuse = |problem: String| S3ConfigError::CaBundle { path: path.to_owned(), problem };
    let pem = std::fs::read(path).map_err(|err| refuse(err.to_string()))?;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|err| refuse(format!("not a PEM file of certificates: {err}")))?;
        count += 1;
        RootCertStore::empty()
            .add(certificate)
            .map_err(|err| refuse(format!("certificate {count} cannot be trusted as an authority: {err}")))?;
    }
    if count == 0 {
        return Err(refuse("there is no certificate in it (a block `-----BEGIN CERTIFICATE-----`)".to_owned()));
    }
    Ok(pem)
}
