//! `policy:` network policies, and how they are enforced.

use std::time::Duration;

use super::{hosts, set};
use crate::meaning::{Backend, Bgp, Config, EstablishedFlows, FlowLog, Policy};
use crate::section::Item;
use crate::value;

/// What `backend` accepts.
pub(crate) const BACKENDS: [(&str, Backend); 3] =
    [("auto", Backend::Auto), ("nft", Backend::Nft), ("legacy", Backend::Legacy)];

/// What `establishedFlows` accepts.
pub(crate) const ESTABLISHED_FLOWS: [(&str, EstablishedFlows); 2] =
    [("keep", EstablishedFlows::Keep), ("recheck", EstablishedFlows::Recheck)];

const MIN_AUDIT_INTERVAL: Duration = Duration::from_secs(1);
const MAX_AUDIT_INTERVAL: Duration = Duration::from_secs(3600);
/// The kernel counts in ten-thousandths of a second (xt_limit).
const MAX_FLOWS_PER_SECOND: u32 = 10_000;

/// Reads the section. Policies must come from somewhere: `has_source` says whether they do, as
/// far as it is known. `bgp` is what policies on nodes must not cut off.
pub(super) fn read(item: &Item, has_source: bool, bgp: &Bgp) -> Policy {
    let mut policy = Config::default().policy;
    let Some(mut section) = item.section() else { return policy };
    if let Some(item) = section.get("enabled") {
        let enabled = item.boolean();
        if enabled == Some(true) && !has_source {
            item.refuse(
                "policies and the pods that they are about come from the source, and there is \
                 none; write \"source: {kind: kubernetes}\" or for instance \"source: {kind: \
                 files, path: /etc/brindle/manifests}\"",
            );
        }
        set(&mut policy.enabled, enabled);
    }
    set(&mut policy.backend, section.get("backend").and_then(|item| item.word(&BACKENDS)));
    let established = section.get("establishedFlows");
    set(&mut policy.established, established.and_then(|item| item.word(&ESTABLISHED_FLOWS)));
    policy.masquerade = section.get("masquerade").and_then(|item| item.boolean());
    set(&mut policy.flow_log, section.get("flowLog").and_then(|item| flow_log(&item)));
    if let Some(item) = section.get("auditInterval") {
        let accepted = MIN_AUDIT_INTERVAL..=MAX_AUDIT_INTERVAL;
        set(&mut policy.audit_interval, value::duration(&item, accepted));
    }
    if let Some(item) = section.get("hostEndpoints") {
        policy.hosts = hosts::read(&item, bgp);
    }
    section.finish();
    policy
}

fn flow_log(item: &Item) -> Option<FlowLog> {
    let mut log = Config::default().policy.flow_log;
    let mut section = item.section()?;
    set(&mut log.enabled, section.get("enabled").and_then(|item| item.boolean()));
    let number = |item: Item, least, most| {
        item.number(least, most).and_then(|number| u16::try_from(number).ok())
    };
    set(&mut log.group, section.get("group").and_then(|item| number(item, 0, u16::MAX.into())));
    let most = section.get("perSecond").and_then(|item| number(item, 1, MAX_FLOWS_PER_SECOND));
    set(&mut log.per_second, most);
    section.finish();
    Some(log)
}
