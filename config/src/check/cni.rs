//! `cni:` our network plug-in.

use super::set;
use crate::meaning::{ChainedPlugin, Cni, Config};
use crate::section::Item;
use crate::value;

/// What `chain` accepts.
pub(crate) const CHAINED: [(&str, ChainedPlugin); 2] =
    [("portmap", ChainedPlugin::Portmap), ("bandwidth", ChainedPlugin::Bandwidth)];

/// What every host takes (RFC 791), and the most that a packet can have.
const MTUS: [u32; 2] = [576, 65_535];

/// Reads the section. Pods' addresses must come from somewhere: `has_ranges` says whether they
/// do, as far as it is known.
pub(super) fn read(item: &Item, has_ranges: bool) -> Cni {
    let mut cni = Config::default().cni;
    let Some(mut section) = item.section() else { return cni };
    if let Some(item) = section.get("enabled") {
        let enabled = item.boolean();
        if enabled == Some(true) && !has_ranges {
            item.refuse(
                "pods' addresses come from node.podCIDRs or from the source's Node, and there is \
                 neither",
            );
        }
        set(&mut cni.enabled, enabled);
    }
    set(&mut cni.config_dir, section.get("configDir").and_then(|item| value::path(&item)));
    set(&mut cni.data_dir, section.get("dataDir").and_then(|item| value::path(&item)));
    cni.mtu = section.get("mtu").and_then(|item| item.number(MTUS[0], MTUS[1]));
    if let Some(item) = section.get("chain") {
        cni.chain = chain(&item);
    }
    section.finish();
    cni
}

fn chain(item: &Item) -> Vec<ChainedPlugin> {
    let goods = item.list(|item| item.word(&CHAINED)).unwrap_or_default();
    for (index, good) in goods.iter().enumerate() {
        if let Some(same) = goods.iter().take(index).find(|other| other.value == good.value) {
            let place = &same.item.node.place;
            good.item.refuse(format!("the plug-in stands here already, at {place}"));
        }
    }
    goods.into_iter().map(|good| good.value).collect()
}
