//! What the handlers share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::credential::FileCredential;
use super::upload::Room;
use crate::config::{BaseUrl, Config, Limits};
use crate::registry::Registry;

/// What the handlers of the public listener share.
#[derive(Debug, Clone)]
pub struct PublicState {
    pub(super) registry: Arc<Registry>,
    pub(super) public_url: Option<BaseUrl>,
    /// Whether the listener speaks TLS: the scheme of URLs that are derived from requests.
    pub(super) tls: bool,
    pub(super) limits: Arc<Limits>,
    pub(super) room: Room,
}

impl PublicState {
    /// The state for one registry.
    pub fn new(registry: Arc<Registry>, config: &Config) -> Self {
        Self {
            registry,
            public_url: config.public_url.clone(),
            tls: config.public.tls.is_some(),
            limits: Arc::new(config.limits.clone()),
            room: Room::new(&config.limits),
        }
    }
}

/// What the handlers of the internal listener share.
#[derive(Debug, Clone)]
pub struct InternalState {
    /// The registry.
    pub registry: Arc<Registry>,
    /// `None`: there is no admin API.
    pub admin: Option<Arc<FileCredential>>,
    /// What the other replicas show; `None`: they cannot tell this one anything.
    pub peers: Option<Arc<FileCredential>>,
    /// Whether the server is on its way down.
    pub draining: Arc<AtomicBool>,
}
