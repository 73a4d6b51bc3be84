//! TLS for a listener: HTTP/2 by ALPN, and a certificate that may be renewed on disk while the server runs (Kubernetes
//! swaps a mounted Secret's files in place; cert-manager does so every few weeks).
//!
//! A renewed pair that does not load is logged and the old one stays: a half-written file must not end service.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

use crate::config::TlsFiles;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No certificate in the file.
    #[error("{path} holds no PEM certificate: {reason}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        reason: String,
    },
    /// No key in the file.
    #[error("{path} holds no PEM private key: {reason}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        reason: String,
    },
    /// They do not fit, or use an algorithm that rustls does not know.
    #[error("the certificate in {certificate} and the key in {private_key} cannot be used together: {source}")]
    Pair {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        private_key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
}

/// The pair that new connections get, replaced when the files change.
pub(super) struct Certificates {
    files: TlsFiles,
    loaded: std::sync::Mutex<Pem>,
    current: ArcSwap<ServerConfig>,
}

/// The bytes of both files, to see a change by content: a mounted Secret keeps neither names nor times.
#[derive(Clone, PartialEq, Eq)]
struct Pem {
    certificate: Vec<u8>,
    private_key: Vec<u8>,
}

impl Certificates {
    /// Loads the pair.
    ///
    /// # Errors
    /// Which file, and what is wrong with it.
    pub(super) fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let pem = read(files)?;
        let config = server_config(files, &pem)?;
        Ok(Self { files: files.clone(), loaded: std::sync::Mutex::new(pem), current: ArcSwap::from_pointee(config) })
    }

    /// The configuration for a new connection.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Looks at the files now; `true` when a new pair is in use.
    ///
    /// # Errors
    /// The files cannot be read, or changed to a pair that cannot be used; the old pair stays.
    pub(super) fn refresh(&self) -> Result<bool, TlsError> {
        let pem = read(&self.files)?;
        let mut loaded = self.loaded.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *loaded == pem {
            return Ok(false);
        }
        let config = server_config(&self.files, &pem)?;
        self.current.store(Arc::new(config));
        *loaded = pem;
        Ok(true)
    }

    /// Looks at the files every few seconds until `stop`. A failure is logged when it begins, not every time.
    pub(super) async fn keep_fresh(self: Arc<Self>, stop: CancellationToken) {
        let mut failing = false;
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let this = self.clone();
            let outcome = tokio::task::spawn_blocking(move || this.refresh()).await;
            match outcome {
                Ok(Ok(changed)) => {
                    if changed {
                        tracing::info!(certificate = %self.files.certificate.display(), "new TLS certificate in use");
                    }
                    failing = false;
                }
                Ok(Err(error)) if !failing => {
                    failing = true;
                    tracing::error!(%error, "the changed TLS certificate cannot be used; the old one stays in use");
                }
                _ => {}
            }
        }
    }
}

fn read(files: &TlsFiles) -> Result<Pem, TlsError> {
    let read = |path: &Path| std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source });
    Ok(Pem { certificate: read(&files.certificate)?, private_key: read(&files.private_key)? })
}

fn server_config(files: &TlsFiles, pem: &Pem) -> Result<ServerConfig, TlsError> {
    let certificate_error = |reason: String| TlsError::Certificate { path: files.certificate.clone(), reason };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem.certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| certificate_error(error.to_string()))?;
    if chain.is_empty() {
        return Err(certificate_error("no CERTIFICATE section".into()));
    }
    let key = PrivateKeyDer::from_pem_slice(&pem.private_key)
        .map_err(|error| TlsError::Key { path: files.private_key.clone(), reason: error.to_string() })?;
    let pair_error = |source| TlsError::Pair {
        certificate: files.certificate.clone(),
        private_key: files.private_key.clone(),
        source,
    };
    // The provider is named, never taken from the process: with two compiled in, rustls would panic here.
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(pair_error)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(pair_error)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_pair(dir: &Path, name: &str) -> (String, String) {
        let pair = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a self-signed certificate");
        let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
        std::fs::write(dir.join("tls.crt"), &certificate).expect("writable");
        std::fs::write(dir.join("tls.key"), &key).expect("writable");
        (certificate, key)
    }

    fn files(dir: &Path) -> TlsFiles {
        TlsFiles { certificate: dir.join("tls.crt"), private_key: dir.join("tls.key") }
    }

    #[test]
    fn a_renewed_pair_is_taken_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        write_pair(dir.path(), "old.example");
        let certificates = Certificates::load(&files(dir.path())).expect("loads");
        let before = certificates.current();
        assert!(!certificates.refresh().expect("readable"), "nothing changed");

        write_pair(dir.path(), "new.example");
        assert!(certificates.refresh().expect("readable"), "the new pair is taken");
        let renewed = certificates.current();
        assert!(!Arc::ptr_eq(&before, &renewed));

        // The key of another pair: the moment between two writes.
        let other =
            rcgen::generate_simple_self_signed(vec!["x.example".to_owned()]).expect("a self-signed certificate");
        std::fs::write(dir.path().join("tls.key"), other.signing_key.serialize_pem()).expect("writable");
        let error = certificates.refresh().expect_err("does not fit");
        assert!(matches!(error, TlsError::Pair { .. }), "{error}");
        assert!(Arc::ptr_eq(&renewed, &certificates.current()), "the old pair stays");
    }

    #[test]
    fn errors_name_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let error = Certificates::load(&files(dir.path())).err().expect("there is no file").to_string();
        assert!(error.contains("tls.crt"), "{error}");
        write_pair(dir.path(), "a.example");
        std::fs::write(dir.path().join("tls.key"), "rubbish").expect("writable");
        let error = Certificates::load(&files(dir.path())).err().expect("no key").to_string();
        assert!(error.contains("tls.key") && error.contains("private key"), "{error}");
    }
}
