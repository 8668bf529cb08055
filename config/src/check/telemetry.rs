//! `telemetry:` health and metrics.

use std::net::SocketAddr;

use crate::meaning::{Config, Telemetry};
use crate::section::Item;
use crate::yaml::quoted;

/// Reads the section.
pub(super) fn read(item: &Item) -> Telemetry {
    let mut telemetry = Config::default().telemetry;
    let Some(mut section) = item.section() else { return telemetry };
    if let Some(item) = section.get("listen") {
        telemetry.listen = listen(&item);
    }
    section.finish();
    telemetry
}

fn listen(item: &Item) -> Vec<SocketAddr> {
    let goods = item.list(address).unwrap_or_default();
    for (index, good) in goods.iter().enumerate() {
        if let Some(same) = goods.iter().take(index).find(|other| other.value == good.value) {
            good.item
                .refuse(format!("{} stands here already, at {}", good.value, same.item.node.place));
        }
        if !good.value.ip().is_loopback() {
            good.item.warn(format!(
                "{} can be reached from other hosts; whoever can reach it can read the metrics",
                good.value
            ));
        }
    }
    goods.into_iter().map(|good| good.value).collect()
}

fn address(item: &Item) -> Option<SocketAddr> {
    let text = item.text()?;
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => {
            item.refuse(format!("{} has no port that anybody could know", quoted(text)));
            None
        }
        Ok(address) => Some(address),
        Err(_) => {
            item.refuse(format!(
                "{} is not an address with a port; accepted is for instance 127.0.0.1:9798 or \
                 [::1]:9798",
                quoted(text)
            ));
            None
        }
    }
}
