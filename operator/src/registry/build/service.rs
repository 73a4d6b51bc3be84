//! Two Services: `NAME` for Cargo, `NAME-internal` for the operator and the replicas.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata;
use crate::crd::registry::ServiceType;
use crate::names::{ChildNames, INTERNAL_PORT, SERVICE_PORT, selector};
use crate::registry::validate::ValidatedRegistry;

/// Where Cargo connects: only replicas that are ready.
pub(super) fn public(registry: &ValidatedRegistry) -> Service {
    let given = &registry.service;
    let mut metadata = metadata(registry, ChildNames::of(&registry.name).main());
    if !given.annotations.is_empty() {
        metadata.annotations = Some(given.annotations.clone());
    }
    let kind = match given.type_ {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    };
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(kind.to_owned()),
            selector: Some(selector(&registry.name)),
            ports: Some(vec![ServicePort { node_port: given.node_port, ..port("http", SERVICE_PORT) }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Where the operator connects: replicas that are not ready too, since their verdict says why they are not.
pub(super) fn internal(registry: &ValidatedRegistry) -> Service {
    Service {
        metadata: metadata(registry, &ChildNames::of(&registry.name).internal()),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(selector(&registry.name)),
            publish_not_ready_addresses: Some(true),
            ports: Some(vec![port("internal", INTERNAL_PORT)]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// A port that leads to the container's port of the same name.
fn port(name: &str, port: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(port),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    }
}
