//! Credentials from a directory of files, as Kubernetes mounts a Secret.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long what was read is used without looking again. The kubelet itself takes up to a minute or so to bring a changed Secret into a pod;
/// this is what we add.
const FRESH_FOR: Duration = Duration::from_secs(5);

/// Reads the credentials, keeps them for a few seconds, and looks again at once when S3 has refused them.
#[derive(Clone)]
pub(super) struct DirectoryCredentials {
    directory: Arc<PathBuf>,
    last: Arc<Mutex<Option<Read>>>,
}

struct Read {
    credentials: Credentials,
    at: Instant,
}

impl DirectoryCredentials {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: Arc::new(directory.to_owned()), last: Arc::default() }
    }

    async fn current(&self) -> Result<Credentials, CredentialsError> {
        let mut last = self.last.lock().await;
        if let Some(read) = last.as_ref().filter(|read| read.at.elapsed() < FRESH_FOR) {
            return Ok(read.credentials.clone());
        }
        let credentials = self.read().await?;
        *last = Some(Read { credentials: credentials.clone(), at: Instant::now() });
        Ok(credentials)
    }

    /// Reads the files again, and says whether they differ from what was used.
    pub(super) async fn reload(&self) -> bool {
        let mut last = self.last.lock().await;
        let Ok(credentials) = self.read().await else { return false };
        let changed = last.as_ref().is_none_or(|read| read.credentials != credentials);
        *last = Some(Read { credentials, at: Instant::now() });
        changed
    }

    async fn read(&self) -> Result<Credentials, CredentialsError> {
        let directory = Arc::clone(&self.directory);
        // One blocking task for all files, so that a rotation (an atomic swap of a symlink) falls between two of them as rarely as can be.
        tokio::task::spawn_blocking(move || read_directory(&directory))
            .await
            .map_err(CredentialsError::provider_error)?
    }
}

/// Says what is wrong with the files, if anything is. The text holds nothing of their content.
pub(super) fn check(directory: &Path) -> Result<(), String> {
    use std::error::Error as _;
    let text = |error: CredentialsError| error.source().map_or_else(|| error.to_string(), ToString::to_string);
    read_directory(directory).map(drop).map_err(text)
}

fn read_directory(directory: &Path) -> Result<Credentials, CredentialsError> {
    // The kubelet swaps the symlink `..data`: through its target all files are of one Secret, even in the middle of a rotation.
    let directory = std::fs::canonicalize(directory.join("..data")).unwrap_or_else(|_| directory.to_owned());
    let id = required(&directory, "AWS_ACCESS_KEY_ID")?;
    let secret = required(&directory, "AWS_SECRET_ACCESS_KEY")?;
    let token = optional(&directory, "AWS_SESSION_TOKEN")?;
    Ok(Credentials::new(id, secret, token, None, "directory"))
}

fn required(directory: &Path, name: &str) -> Result<String, CredentialsError> {
    optional(directory, name)?.ok_or_else(|| {
        CredentialsError::invalid_configuration(format!("{} is missing or empty", directory.join(name).display()))
    })
}

/// A file's content without the white space that editors and `echo` leave around it.
fn optional(directory: &Path, name: &str) -> Result<Option<String>, CredentialsError> {
    let path = directory.join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(CredentialsError::invalid_configuration(format!("{} cannot be read: {err}", path.display()))),
    }
}

impl ProvideCredentials for DirectoryCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.current())
    }
}

impl fmt::Debug for DirectoryCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectoryCredentials").field("directory", &self.directory).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            std::fs::write(directory.join(name), text).unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rotation_is_seen_within_seconds_and_at_once_after_a_refusal() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[("AWS_ACCESS_KEY_ID", " one\n"), ("AWS_SECRET_ACCESS_KEY", "s3cret\n")]);
        let provider = DirectoryCredentials::new(dir.path());
        let first = provider.current().await.unwrap();
        assert_eq!((first.access_key_id(), first.secret_access_key(), first.session_token()), ("one", "s3cret", None));
        assert!(!provider.reload().await, "nothing changed");

        write(dir.path(), &[("AWS_ACCESS_KEY_ID", "two"), ("AWS_SESSION_TOKEN", "t")]);
        assert_eq!(provider.current().await.unwrap().access_key_id(), "one", "kept for a few seconds");
        assert!(provider.reload().await);
        assert_eq!(provider.current().await.unwrap().session_token(), Some("t"));

        write(dir.path(), &[("AWS_ACCESS_KEY_ID", "three")]);
        tokio::time::advance(FRESH_FOR).await;
        assert_eq!(provider.current().await.unwrap().access_key_id(), "three");
    }

    #[tokio::test]
    async fn a_mounted_secret_is_read_through_one_generation_of_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("..1")).unwrap();
        write(&dir.path().join("..1"), &[("AWS_ACCESS_KEY_ID", "in"), ("AWS_SECRET_ACCESS_KEY", "x")]);
        std::os::unix::fs::symlink("..1", dir.path().join("..data")).unwrap();
        let credentials = DirectoryCredentials::new(dir.path()).current().await.unwrap();
        assert_eq!(credentials.access_key_id(), "in");
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[("AWS_ACCESS_KEY_ID", "one"), ("AWS_SECRET_ACCESS_KEY", "\n")]);
        let err = DirectoryCredentials::new(dir.path()).current().await.unwrap_err();
        let text = format!("{}", aws_smithy_types::error::display::DisplayErrorContext(err));
        assert!(text.contains("AWS_SECRET_ACCESS_KEY is missing or empty"), "{text}");
    }
}
