//! `v1/meta/format`: which format the bucket has, and the registry's id. Written once, when the registry is first opened.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Registry, RegistryError};
use crate::store::{Body, Cond, Get, Key, Put};

/// The format that this program reads and writes.
const VERSION: u32 = 1;
/// The object is about a hundred bytes.
const BYTES_MAX: u64 = 64 * 1024;
/// Creating it races only with other replicas that do the same.
const ATTEMPTS_MAX: u32 = 5;

/// The content of the object. Later formats may add fields, and raise `version` when this program must not touch the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Format {
    version: u32,
    /// Random; tells one registry from another, or from its restored copy.
    registry: String,
    created_at: jiff::Timestamp,
}

impl Registry {
    /// The registry's id. Refuses formats that this program does not know, and changes nothing; `None` if the store has none yet.
    pub(crate) async fn read_format(&self) -> Result<Option<String>, RegistryError> {
        match self.store.get(&Key::Format, None).await? {
            Get::Found(object) => judge(&object.bytes(BYTES_MAX).await?).map(Some),
            _ => Ok(None),
        }
    }

    /// Creates the object if the store is new, and refuses formats that this program does not know.
    pub(super) async fn check_format(&self) -> Result<(), RegistryError> {
        for attempt in 1..=ATTEMPTS_MAX {
            if let Some(id) = self.read_format().await? {
                self.replica.serve_registry(&id);
                return Ok(());
            }
            let format = Format {
                version: VERSION,
                registry: format!("{:032x}", self.entropy.bits()),
                created_at: self.clock.now(),
            };
            let bytes = serde_json::to_vec(&format).expect("numbers and texts always serialize");
            match self.store.put(&Key::Format, Body::Bytes(bytes.into()), Cond::Absent).await {
                Put::Stored(_) => {
                    self.replica.serve_registry(&format.registry);
                    return Ok(());
                }
                Put::NotSent(error) if !error.kind().is_transient() => return Err(error.into()),
                // Another replica was faster, or nobody knows: the next read tells.
                Put::Refused(_) | Put::NotSent(_) | Put::Unknown(_) => self.pause(attempt).await,
            }
        }
        Err(RegistryError::Contended { what: "the format of the store".into() })
    }
}

/// The registry's id, if this program knows the format.
fn judge(bytes: &Bytes) -> Result<String, RegistryError> {
    let broken =
        |reason: String| RegistryError::Broken { what: "the registry's format (v1/meta/format)".into(), reason };
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| broken(error.to_string()))?;
    match value.get("version").and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => match value.get("registry") {
            Some(serde_json::Value::String(id)) if !id.is_empty() => Ok(id.clone()),
            _ => Err(broken("there is no field registry".into())),
        },
        Some(version) => Err(broken(format!(
            "the store has format {version}, and this program knows format {VERSION} only; use the version of supercargo-registry that wrote it"
        ))),
        None => Err(broken("there is no field version".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_known_format_is_taken() {
        let format = br#"{"version":1,"registry":"a","created_at":"2026-01-01T00:00:00Z","later":true}"#;
        assert_eq!(judge(&Bytes::from_static(format)).expect("known"), "a");
        for (bytes, part) in [
            ("{\"version\":2}", "format 2"),
            ("{}", "no field version"),
            ("{\"version\":1}", "no field registry"),
            ("<html>", "expected value"),
        ] {
            let error = judge(&Bytes::from_static(bytes.as_bytes())).expect_err(bytes);
            assert!(error.cause().expect("a cause").contains(part), "{bytes}: {error:?}");
        }
    }
}
