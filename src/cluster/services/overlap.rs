//! Blocks of Services that have something in common with pods or nodes: pure.
//!
//! brindle.yaml is refused for it where it can be told from the file alone. Nodes come and go,
//! and none of them shall take its Services from the cluster by what it says of itself: so such
//! a block is told of, and announced nevertheless. Longer prefixes go before it everywhere.

use std::fmt;
use std::sync::Arc;

use brindle_bgp::net::Prefix;
use brindle_config::{ServiceAddresses, ServiceSettings};

use crate::cluster::bgp::service_field;
use crate::cluster::claims::Claims;

/// A block that overlaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// What kind of addresses it is for.
    pub kind: ServiceAddresses,
    /// Whether BGPConfiguration `default` has it; otherwise brindle.yaml.
    pub of_object: bool,
    /// The block.
    pub block: Prefix,
    /// The node that has something in it.
    pub node: Arc<str>,
    /// What that is: a pod range or an address.
    pub holds: Prefix,
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, block, node, holds, .. } = self;
        match self.of_object {
            true => write!(f, "BGPConfiguration/default: spec.{}: ", service_field(*kind))?,
            false => write!(f, "bgp.services.{}: ", kind.word())?,
        }
        write!(f, "{block} ")?;
        match holds.is_host() {
            true => write!(f, "holds {}, an address of Node/{node}", holds.address())?,
            false => write!(f, "overlaps with {holds}, where pods of Node/{node} are")?,
        }
        f.write_str("; accepted are blocks apart from all pods and nodes")
    }
}

/// What overlaps of the blocks by `settings`, each with the first that is in its way; `yaml` is
/// what brindle.yaml says of it, which comes before objects.
pub fn overlaps(
    settings: &ServiceSettings,
    yaml: &ServiceSettings,
    claims: &Claims,
) -> Vec<Overlap> {
    let of_kind = |kind: ServiceAddresses| {
        let of_object = yaml.blocks(kind).is_empty();
        settings.blocks(kind).iter().filter_map(move |block| {
            let (holds, node) = claims.within(block)?;
            Some(Overlap { kind, of_object, block: *block, node: Arc::clone(node), holds })
        })
    };
    ServiceAddresses::ALL.into_iter().flat_map(of_kind).collect()
}
