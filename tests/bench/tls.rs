//! A certificate for loopback.

use std::path::PathBuf;

use anyhow::{Context, Result};
use tempfile::TempDir;

/// A chain and its key, as files.
#[derive(Debug)]
pub(crate) struct Certificate {
    directory: TempDir,
}

impl Certificate {
    /// A new one, which nobody but the load tool has to believe.
    pub(crate) fn new() -> Result<Self> {
        let directory =
            TempDir::with_prefix("supercargo-bench-tls-").context("making a directory for a certificate")?;
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        let certificate = Self { directory };
        std::fs::write(certificate.chain(), cert.pem())?;
        std::fs::write(certificate.key(), signing_key.serialize_pem())?;
        Ok(certificate)
    }

    /// The file with the chain.
    pub(crate) fn chain(&self) -> PathBuf {
        self.directory.path().join("chain.pem")
    }

    /// The file with the key.
    pub(crate) fn key(&self) -> PathBuf {
        self.directory.path().join("key.pem")
    }
}
