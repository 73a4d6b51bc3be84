//! Names and addresses of the cluster. Everything here is fixed: `down` finds what `up` made by these names even when the
//! state directory is gone, and documentation can print addresses.
//!
//! | what | value |
//! |---|---|
//! | bridge on the host | `scbr0`, 10.89.0.1/24: pods and nodes reach the host here |
//! | node *i* | 10.89.0.(*i*+1), pods 10.244.*i*.0/24 |
//! | API server, NodePorts | https://10.89.0.2:6443, 10.89.0.2:30000-32767 |
//! | Services | 10.96.0.0/16, DNS 10.96.0.10 |

use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::paths;

/// The bridge that joins the nodes and the host.
pub const BRIDGE: &str = "scbr0";
/// Link alias (`ip link show` prints it) of every link on the host that is ours.
pub const LINK_ALIAS: &str = "supercargo-dev";
/// Cgroup below which every pod runs, in each hierarchy.
pub const CGROUP: &str = "supercargo-dev";
/// The host's own address on the bridge.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 1);
/// The bridge's network.
pub const NODES: Subnet = Subnet { address: Ipv4Addr::new(10, 89, 0, 0), prefix: 24 };
/// All pods of all nodes.
pub const PODS: Subnet = Subnet { address: Ipv4Addr::new(10, 244, 0, 0), prefix: 16 };
/// All Services.
pub const SERVICES: Subnet = Subnet { address: Ipv4Addr::new(10, 96, 0, 0), prefix: 16 };
/// The cluster's DNS Service.
pub const DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// The most nodes that `up` takes. Each needs about 175 MB.
pub const NODES_MAX: u8 = 9;

/// An IPv4 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    /// Its first address.
    pub address: Ipv4Addr,
    /// Leading bits that are fixed.
    pub prefix: u8,
}

impl Subnet {
    /// Parses `10.89.0.0/24`, or an address alone as a /32. None for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
        let (address, prefix) = (address.parse().ok()?, prefix.parse().ok()?);
        (prefix <= 32).then_some(Self { address, prefix })
    }

    /// Whether every address of `other` is one of ours.
    pub fn contains(self, other: Self) -> bool {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
        self.prefix <= other.prefix && u32::from(self.address) & mask == u32::from(other.address) & mask
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// `node1`, …: the name in Kubernetes and of the node's files.
pub fn node_name(index: u8) -> String {
    format!("node{index}")
}

/// The node's address on the bridge.
pub fn node_address(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 89, 0, index + 1)
}

/// The pods of one node.
pub fn pod_subnet(index: u8) -> Subnet {
    Subnet { address: Ipv4Addr::new(10, 244, index, 0), prefix: 24 }
}

/// The host's end of a node's cable.
pub fn node_link(index: u8) -> String {
    format!("scveth{index}")
}

/// The file that holds a node's network namespace (a bind mount of nsfs).
pub fn netns(index: u8) -> PathBuf {
    PathBuf::from(paths::STATE).join("ns").join(node_name(index))
}

/// A node's own directory: image store, kubelet, configuration.
pub fn node_dir(index: u8) -> PathBuf {
    PathBuf::from(paths::STATE).join(node_name(index))
}

/// A node's logs, one file per component.
pub fn log_dir(index: u8) -> PathBuf {
    PathBuf::from(paths::STATE).join("log").join(node_name(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_contain_as_the_kernel_thinks() {
        let parse = |text| Subnet::parse(text).expect("a subnet");
        assert!(PODS.contains(parse("10.244.3.0/24")));
        assert!(PODS.contains(parse("10.244.3.9")));
        assert!(!PODS.contains(parse("10.245.0.0/24")));
        assert!(parse("10.0.0.0/8").contains(PODS));
        assert!(parse("0.0.0.0/0").contains(PODS));
        assert!(!PODS.contains(parse("10.0.0.0/8")));
        assert_eq!(Subnet::parse("default"), None);
        assert_eq!(Subnet::parse("10.0.0.0/33"), None);
    }
}
