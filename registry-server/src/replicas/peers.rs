//! Notices between replicas: "this record is about to change; forget what you keep of it".

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::head::Epoch;

/// A notice to one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The membership that it is for. Another life of the process at that address applies it and does not acknowledge it.
    pub epoch: Epoch,
    /// The number of the announcement in the head.
    pub seq: u64,
    /// The object key.
    pub key: String,
    /// The `rev` that the record is about to have.
    pub rev: u64,
}

/// A member has applied a notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Its membership.
    pub epoch: Epoch,
    /// The number of the announcement.
    pub seq: u64,
}

/// The way to the other replicas.
#[async_trait]
pub trait Peers: Send + Sync + 'static {
    /// Brings a notice to `address`. `None` when there was no acknowledgement, for whatever reason; the caller's patience is its own.
    async fn notify(&self, address: &str, notice: &Notice) -> Option<Ack>;
}

/// No way to anybody: every lease has to be outlasted.
#[derive(Debug, Clone, Copy)]
pub struct NoPeers;

#[async_trait]
impl Peers for NoPeers {
    async fn notify(&self, _: &str, _: &Notice) -> Option<Ack> {
        None
    }
}
