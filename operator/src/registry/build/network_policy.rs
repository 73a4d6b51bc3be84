//! Who may connect to the pods. What they may connect to is left open: object storage has no label, and often no fixed address.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{maintenance, metadata};
use crate::names::{ChildNames, INTERNAL_PORT, PUBLIC_PORT, selector};
use crate::registry::validate::{Storage, ValidatedRegistry};

pub(super) fn build(registry: &ValidatedRegistry) -> NetworkPolicy {
    let own_pods = LabelSelector { match_labels: Some(selector(&registry.name)), ..LabelSelector::default() };
    let operator = LabelSelector {
        match_labels: Some([("kubernetes.io/metadata.name".to_owned(), registry.operator_namespace.clone())].into()),
        ..LabelSelector::default()
    };
    let mut internal_peers = vec![
        NetworkPolicyPeer { namespace_selector: Some(operator), ..NetworkPolicyPeer::default() },
        NetworkPolicyPeer { pod_selector: Some(own_pods.clone()), ..NetworkPolicyPeer::default() },
    ];
    if matches!(registry.storage, Storage::S3(_)) {
        // Maintenance changes records too, and tells the replicas.
        let maintenance = Some(maintenance::own_pods(registry));
        internal_peers.push(NetworkPolicyPeer { pod_selector: maintenance, ..NetworkPolicyPeer::default() });
    }
    NetworkPolicy {
        metadata: metadata(registry, ChildNames::of(&registry.name).main()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(own_pods),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![
                NetworkPolicyIngressRule { from: None, ports: Some(vec![port(PUBLIC_PORT)]) },
                NetworkPolicyIngressRule { from: Some(internal_peers), ports: Some(vec![port(INTERNAL_PORT)]) },
            ]),
            egress: None,
        }),
    }
}

fn port(number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(number))),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    }
}
