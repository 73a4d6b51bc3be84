//! What the handlers share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::credential::FileCredential;
use super::site::Sites;
use super::upload::Room;
use crate::config::{Config, Downloads, Limits};
use crate::registry::Registry;

/// What the handlers of the public listener share.
#[derive(Debug, Clone)]
pub struct PublicState {
    pub(super) registry: Arc<Registry>,
    pub(super) sites: Arc<Sites>,
    pub(super) downloads: Downloads,
    pub(super) limits: Arc<Limits>,
    pub(super) room: Room,
}

impl PublicState {
    /// The state for one registry.
    pub fn new(registry: Arc<Registry>, config: &Config) -> Self {
        let visibility = registry.visibility();
        Self {
            registry,
            sites: Arc::new(Sites::new(config.public_url.clone(), config.public.tls.is_some(), visibility)),
            downloads: config.downloads.clone(),
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
