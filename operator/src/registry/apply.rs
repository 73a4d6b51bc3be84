//! Sends what differs, by server-side apply, in an order in which no object points at one that is not there yet; then
//! removes children that this registry no longer has. What others added where nothing may be added is taken out first, by JSON patch.

use std::fmt::Debug;
use std::marker::PhantomData;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::diff;
use super::digest::hash;
use super::model::{Applied, Live, Prepared, Resources};
use crate::error::{Error, Result};
use crate::metrics;
use crate::names::{FieldManager, MANIFEST_HASH};

/// What was written in a pass, one sentence each.
pub type Changes = Vec<String>;

/// Brings the children of one registry to `wanted`. An object that already is as wanted costs no request.
///
/// # Errors
/// The first write that failed; what was written before it stays, and the next pass goes on from there.
pub async fn apply(client: &Client, wanted: Resources<Prepared>, live: Live) -> Result<(Resources<Applied>, Changes)> {
    let Resources {
        service_account,
        config_map,
        internal_secret,
        volume_claim,
        public_service,
        internal_service,
        network_policy,
        disruption_budget,
        deployment,
        maintenance_policy,
        fsck,
        gc,
        stage: PhantomData,
    } = wanted;
    let mut writer = Writer { client, changes: Vec::new() };
    // What pods need at their start, then what leads to them, then the pods. The policy before the pods: they are never open.
    let config_map = writer.put(config_map, live.config_map).await?;
    let internal_secret = writer.put(internal_secret, live.internal_secret).await?;
    let service_account = writer.put_or_delete(service_account, live.service_account).await?;
    // A claim is never deleted: it holds crates.
    let volume_claim = writer.put_if_any(volume_claim, live.volume_claim).await?;
    let network_policy = writer.put(network_policy, live.network_policy).await?;
    let internal_service = writer.put(internal_service, live.internal_service).await?;
    let public_service = writer.put(public_service, live.public_service).await?;
    let deployment = writer.put(deployment, live.deployment).await?;
    let disruption_budget = writer.put_or_delete(disruption_budget, live.disruption_budget).await?;
    // Last: nothing of the registry needs them.
    let maintenance_policy = writer.put_if_any(maintenance_policy, live.maintenance_policy).await?;
    let fsck = writer.put_if_any(fsck.map(|job| *job), live.fsck.map(|job| *job)).await?.map(Box::new);
    let gc = writer.put_if_any(gc.map(|job| *job), live.gc.map(|job| *job)).await?.map(Box::new);
    let applied = Resources {
        service_account,
        config_map,
        internal_secret,
        volume_claim,
        public_service,
        internal_service,
        network_policy,
        disruption_budget,
        deployment,
        maintenance_policy,
        fsck,
        gc,
        stage: PhantomData,
    };
    Ok((applied, writer.changes))
}

/// A kind of child.
trait Child:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Serialize
    + DeserializeOwned
    + Clone
    + Debug
    + Send
    + Sync
    + 'static
{
}

impl<K> Child for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug
        + Send
        + Sync
        + 'static
{
}

struct Writer<'a> {
    client: &'a Client,
    changes: Changes,
}

impl Writer<'_> {
    /// On the heap: with a future per kind, each with the object in it, a pass would be more than a stack holds.
    fn put<K: Child>(&mut self, wanted: K, live: Option<K>) -> BoxFuture<'_, Result<K>> {
        self.put_one(wanted, live).boxed()
    }

    async fn put_one<K: Child>(&mut self, wanted: K, live: Option<K>) -> Result<K> {
        let (kind, name) = (K::kind(&()), wanted.name_any());
        let mut manifest = manifest(&wanted)?;
        let was_there = live.is_some();
        let live = match live {
            Some(live) => Some(self.without_extras(live, &manifest).await?),
            None => None,
        };
        if let Some(live) = &live {
            if diff::covers(&value_of(live)?, &manifest) {
                return Ok(live.clone());
            }
            // Only the object that was looked at: if it was replaced meanwhile, this is a conflict.
            manifest["metadata"]["uid"] = json!(live.uid());
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), &wanted.namespace().unwrap_or_default());
        let params = PatchParams::apply(FieldManager::Registry.as_str()).force();
        metrics::write_sent(super::NAME, kind_label::<K>());
        let applied = match api.patch(&name, &params, &Patch::Apply(&manifest)).await {
            // Someone changed what names a member of a list (the port of a Service, say): apply keeps theirs beside ours, and the two
            // do not go together. A merge patch replaces the list.
            Err(kube::Error::Api(answer)) if live.is_some() && matches!(answer.code, 422 | 500) => {
                tracing::info!(%kind, name, answer = answer.message, "apply was refused; replacing lists");
                let params = PatchParams { force: false, ..params };
                metrics::write_sent(super::NAME, kind_label::<K>());
                // What apply was refused for says more than what the second attempt is.
                api.patch(&name, &params, &Patch::Merge(&manifest)).await.map_err(|_| kube::Error::Api(answer))
            }
            other => other,
        };
        let applied = applied.map_err(|e| Error::kube(format!("apply {kind} {name}"), e))?;
        self.changes.push(if was_there { format!("updated {kind} {name}") } else { format!("created {kind} {name}") });
        Ok(applied)
    }

    /// The object without what somebody added where nothing may be added. Apply would leave it, because it belongs to another field
    /// manager; so the places are set to what belongs there, on the very version that was looked at.
    async fn without_extras<K: Child>(&mut self, live: K, manifest: &Value) -> Result<K> {
        let extras = diff::extras(&value_of(&live)?, manifest);
        if extras.is_empty() {
            return Ok(live);
        }
        let (kind, name) = (K::kind(&()), live.name_any());
        // A version that is not the object's any more is a conflict, as with any update.
        let version = json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": live.resource_version() });
        let operations = extras.iter().map(|extra| match &extra.wanted {
            Some(wanted) => json!({ "op": "replace", "path": extra.pointer, "value": wanted }),
            None => json!({ "op": "remove", "path": extra.pointer }),
        });
        let operations: Value = std::iter::once(version).chain(operations).collect();
        let patch = serde_json::from_value(operations).map_err(not_serialised)?;
        let api: Api<K> = Api::namespaced(self.client.clone(), &live.namespace().unwrap_or_default());
        let manager = FieldManager::Registry.as_str().to_owned();
        let params = PatchParams { field_manager: Some(manager), ..PatchParams::default() };
        let places: Vec<_> = extras.iter().map(|extra| extra.pointer.as_str()).collect();
        let places = places.join(", ");
        metrics::write_sent(super::NAME, kind_label::<K>());
        let cleaned = api.patch(&name, &params, &Patch::<()>::Json(patch)).await;
        let cleaned = cleaned.map_err(|e| Error::kube(format!("take additions out of {kind} {name} ({places})"), e))?;
        self.changes.push(format!("took out what was added to {kind} {name} at {places}"));
        Ok(cleaned)
    }

    /// For children that a registry has for ever or never.
    async fn put_if_any<K: Child>(&mut self, wanted: Option<K>, live: Option<K>) -> Result<Option<K>> {
        match wanted {
            Some(wanted) => self.put(wanted, live).await.map(Some),
            None => Ok(None),
        }
    }

    async fn put_or_delete<K: Child>(&mut self, wanted: Option<K>, live: Option<K>) -> Result<Option<K>> {
        match (wanted, live) {
            (Some(wanted), live) => self.put(wanted, live).await.map(Some),
            (None, Some(live)) => self.delete(&live).await.map(|()| None),
            (None, None) => Ok(None),
        }
    }

    /// Deletes the very object that was looked at. That it is ours was settled in `validate`.
    async fn delete<K: Child>(&mut self, live: &K) -> Result<()> {
        let (kind, name) = (K::kind(&()), live.name_any());
        if live.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), &live.namespace().unwrap_or_default());
        let only_this = Preconditions { uid: live.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(only_this), ..DeleteParams::background() };
        metrics::write_sent(super::NAME, kind_label::<K>());
        match api.delete(&name, &params).await {
            Ok(_) => {
                self.changes.push(format!("deleted {kind} {name}"));
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(Error::kube(format!("delete {kind} {name}"), error)),
        }
    }
}

/// What is sent: without empty fields, and with its own hash as an annotation.
fn manifest<K: Resource<DynamicType = ()> + Serialize>(wanted: &K) -> Result<Value> {
    let mut manifest = diff::pruned(value_of(wanted)?);
    let hash = hash([manifest.to_string().as_bytes()]);
    manifest["metadata"]["annotations"][MANIFEST_HASH] = json!(hash);
    Ok(manifest)
}

fn value_of<K: Serialize>(object: &K) -> Result<Value> {
    serde_json::to_value(object).map_err(not_serialised)
}

fn not_serialised(error: serde_json::Error) -> Error {
    Error::Internal { action: "serialise an object", message: error.to_string() }
}

/// The kind as a label of metrics.
fn kind_label<K: Resource<DynamicType = ()>>() -> &'static str {
    match K::kind(&()) {
        std::borrow::Cow::Borrowed(kind) => kind,
        std::borrow::Cow::Owned(_) => "other",
    }
}
