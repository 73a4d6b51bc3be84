//! What every reconcile is given. Time and randomness are part of it, so that a test can fix both.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube_runtime::events::{Event, EventType, Recorder, Reporter};

use crate::config::Config;
use crate::health::Health;

/// Shared by all controllers; one per process, behind an `Arc`.
pub struct Context {
    /// The Kubernetes API.
    pub client: Client,
    /// What the operator was told.
    pub config: Config,
    /// What the controllers know about their watches.
    pub health: Health,
    /// The time now. A test fixes it.
    pub now: fn() -> Timestamp,
    /// Fills a buffer with bytes fit for keys. A test makes them predictable.
    pub fill_random: fn(&mut [u8]),
    recorder: Recorder,
}

impl Context {
    /// A context over `client`.
    pub fn new(client: Client, config: Config, now: fn() -> Timestamp, fill_random: fn(&mut [u8])) -> Context {
        let reporter = Reporter { controller: "supercargo-operator".into(), instance: config.pod_name.clone() };
        let recorder = Recorder::new(client.clone(), reporter);
        Context { client, config, health: Health::default(), now, fill_random, recorder }
    }

    /// Tells a user in `kubectl describe` and `kubectl events`. Best effort: a failure is logged and has no other effect.
    ///
    /// `reason` is the CamelCase word that is told, `action` the verb that led to it (`Reconcile`, `Mint`, ...); `note` must hold
    /// no Secret. For some minutes Kubernetes counts repeats of the same (reason, action) under the first note.
    pub async fn event(&self, about: &ObjectReference, type_: EventType, reason: &str, action: &str, note: String) {
        const NOTE_BYTES_MAX: usize = 1024;
        let mut note = note;
        if note.len() > NOTE_BYTES_MAX {
            let end = (0..=NOTE_BYTES_MAX).rev().find(|&i| note.is_char_boundary(i)).unwrap_or(0);
            note.truncate(end);
        }
        let event = Event { type_, reason: reason.into(), note: Some(note), action: action.into(), secondary: None };
        if let Err(error) = self.recorder.publish(&event, about).await {
            tracing::debug!(%error, reason, "event not recorded");
        }
    }

    /// A number in 0..1 for spreading things out.
    pub fn jitter(&self) -> f64 {
        let mut bytes = [0; 4];
        (self.fill_random)(&mut bytes);
        f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
    }
}
