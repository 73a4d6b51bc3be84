//! Which bucket, where, and with whose keys: everything an S3 client is made of.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::ByteString;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// Key of the access key id in a credentials Secret.
pub const ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
/// Key of the secret access key in a credentials Secret.
pub const SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
/// Key of the optional session token in a credentials Secret.
pub const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";

/// A bucket and the way to it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Name of the bucket.
    pub bucket: String,
    /// Region to sign for; also where the bucket is made.
    pub region: String,
    /// Base URL of the S3 service; `None` is AWS itself.
    pub endpoint: Option<String>,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`.
    pub force_path_style: bool,
    /// PEM certificates to trust for `endpoint`, and nothing else then. `None` trusts what the operator's image trusts.
    pub ca_bundle: Option<Vec<u8>>,
    /// Whose keys.
    pub credentials: Credentials,
    /// `storage.s3.prefix`, with or without its final slash; empty is the whole bucket.
    pub prefix: String,
}

impl Target {
    /// What every key of the registry begins with: empty, or with a final slash.
    pub fn key_prefix(&self) -> String {
        match self.prefix.trim_end_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        }
    }

    /// `bucket "crates" at https://s3.example:9000 (region eu-west-1)`, for messages.
    pub fn describe(&self) -> String {
        let place = self.endpoint.as_deref().unwrap_or("AWS S3");
        format!("bucket {:?} at {place} (region {})", self.bucket, self.region)
    }

    /// SHA-256 over all of it, credentials too: equal means that a client made before is still right. Goes nowhere.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(self.bucket.as_bytes());
        part(self.region.as_bytes());
        part(self.endpoint.as_deref().unwrap_or_default().as_bytes());
        part(&[u8::from(self.force_path_style), u8::from(self.ca_bundle.is_some())]);
        part(self.ca_bundle.as_deref().unwrap_or_default());
        part(self.key_prefix().as_bytes());
        match &self.credentials {
            Credentials::Ambient => part(b"ambient"),
            Credentials::Static { keys, .. } => {
                part(keys.access_key_id.as_bytes());
                part(keys.secret_access_key.expose_secret().as_bytes());
                part(keys.session_token.as_ref().map(|t| t.expose_secret()).unwrap_or_default().as_bytes());
            }
        }
        hash.finalize().into()
    }
}

/// Where the keys come from.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// The operator's own surroundings: environment, web identity, instance metadata.
    Ambient,
    /// Keys out of a Secret.
    Static {
        /// `Secret "s3" in namespace demo`, for messages.
        source: String,
        /// The keys.
        keys: StaticKeys,
    },
}

/// Keys as a Secret holds them.
#[derive(Clone)]
pub struct StaticKeys {
    /// `AWS_ACCESS_KEY_ID`. Not secret to S3, yet kept out of messages.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: SecretString,
    /// `AWS_SESSION_TOKEN`, for temporary credentials.
    pub session_token: Option<SecretString>,
}

impl fmt::Debug for StaticKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticKeys(***)")
    }
}

/// What is wrong with a credentials Secret. The text names keys, never values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// A key is not there.
    #[error("{source_}: key {key} is missing; it needs {ACCESS_KEY_ID} and {SECRET_ACCESS_KEY}, and has {has}")]
    Missing {
        /// The Secret.
        source_: String,
        /// The key.
        key: &'static str,
        /// Keys that are there.
        has: String,
    },
    /// A key is there and cannot be a key of S3.
    #[error("{source_}: the value of {key} is {what}")]
    Malformed {
        /// The Secret.
        source_: String,
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl Credentials {
    /// Reads the keys of Secret `namespace/name`. White space around a value is dropped: a line end is the most common accident
    /// of `echo … | base64`.
    ///
    /// # Errors
    /// A key is missing, empty, not text, or has white space inside.
    pub fn from_secret(
        namespace: &str,
        name: &str,
        data: &BTreeMap<String, ByteString>,
    ) -> Result<Credentials, SecretError> {
        let source = format!("Secret {name:?} in namespace {namespace}");
        let read = |key: &'static str| -> Result<Option<String>, SecretError> {
            let Some(ByteString(bytes)) = data.get(key) else { return Ok(None) };
            let malformed = |what| SecretError::Malformed { source_: source.clone(), key, what };
            let text = std::str::from_utf8(bytes).map_err(|_| malformed("not UTF-8 text"))?.trim();
            if text.is_empty() {
                return Err(malformed("empty"));
            }
            if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
                return Err(malformed("broken: it has white space or control characters inside"));
            }
            Ok(Some(text.to_owned()))
        };
        let required = |key: &'static str| -> Result<String, SecretError> {
            read(key)?.ok_or_else(|| {
                let names: Vec<&str> = data.keys().map(String::as_str).collect();
                let has = if names.is_empty() { "no key at all".to_owned() } else { names.join(", ") };
                SecretError::Missing { source_: source.clone(), key, has }
            })
        };
        let keys = StaticKeys {
            access_key_id: required(ACCESS_KEY_ID)?,
            secret_access_key: required(SECRET_ACCESS_KEY)?.into(),
            session_token: read(SESSION_TOKEN)?.map(Into::into),
        };
        Ok(Credentials::Static { source, keys })
    }

    /// Where they come from, for messages.
    pub fn source(&self) -> &str {
        match self {
            Credentials::Ambient => "the operator's own surroundings (environment, web identity, instance metadata)",
            Credentials::Static { source, .. } => source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, ByteString> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), ByteString(v.as_bytes().to_vec()))).collect()
    }

    #[test]
    fn a_line_end_around_a_key_is_dropped() {
        let c =
            Credentials::from_secret("demo", "s3", &data(&[(ACCESS_KEY_ID, "id\n"), (SECRET_ACCESS_KEY, " s \r\n")]));
        let Ok(Credentials::Static { keys, .. }) = c else { panic!("{c:?}") };
        assert_eq!((keys.access_key_id.as_str(), keys.secret_access_key.expose_secret()), ("id", "s"));
    }

    #[test]
    fn a_missing_key_is_named_with_what_is_there_instead() {
        let error =
            Credentials::from_secret("demo", "s3", &data(&[("accessKey", "x"), (ACCESS_KEY_ID, "y")])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("Secret \"s3\" in namespace demo: key AWS_SECRET_ACCESS_KEY is missing"), "{text}");
        assert!(text.ends_with("and has AWS_ACCESS_KEY_ID, accessKey"), "{text}");
    }

    #[test]
    fn values_never_show() {
        let broken = data(&[(ACCESS_KEY_ID, "hush hush"), (SECRET_ACCESS_KEY, "hush")]);
        let error = Credentials::from_secret("demo", "s3", &broken).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
        let fine = data(&[(ACCESS_KEY_ID, "hush"), (SECRET_ACCESS_KEY, "hush"), (SESSION_TOKEN, "hush")]);
        let shown = format!("{:?}", Credentials::from_secret("demo", "s3", &fine).unwrap());
        assert!(!shown.contains("hush"), "{shown}");
    }

    #[test]
    fn the_fingerprint_sees_a_rotated_key() {
        let target = |secret: &str| Target {
            bucket: "b".into(),
            region: "r".into(),
            endpoint: None,
            force_path_style: true,
            ca_bundle: None,
            credentials: Credentials::from_secret(
                "d",
                "s",
                &data(&[(ACCESS_KEY_ID, "i"), (SECRET_ACCESS_KEY, secret)]),
            )
            .unwrap(),
            prefix: String::new(),
        };
        assert_eq!(target("a").fingerprint(), target("a").fingerprint());
        assert_ne!(target("a").fingerprint(), target("b").fingerprint());
    }
}
