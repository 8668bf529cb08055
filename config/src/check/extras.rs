//! What an annotation of a Calico BGPPeer may say: keys of `bgp.peers` for which that has no
//! field.

use std::sync::Arc;

use brindle_bgp::bfd;
use brindle_bgp::net::Role;
use brindle_bgp::rib::PrefixLimits;

use super::peer::ROLES;
use super::{add_paths, bfd as bfd_section, limits};
use crate::error::Problem;
use crate::meaning::AddPaths;
use crate::section::{Item, Report};
use crate::yaml;

/// Settings of a peer that are no field of a BGPPeer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerExtras {
    /// `passive`: it is never dialled.
    pub passive: bool,
    /// `gracefulRestart`; `None` as for all peers.
    pub graceful_restart: Option<bool>,
    /// `maxPrefixes`.
    pub limits: PrefixLimits,
    /// `role`.
    pub role: Option<Role>,
    /// `roleStrict`.
    pub role_strict: bool,
    /// `addPaths`.
    pub add_paths: AddPaths,
    /// `bfd`.
    pub bfd: Option<bfd::Settings>,
}

impl Default for PeerExtras {
    fn default() -> Self {
        Self {
            passive: false,
            graceful_restart: None,
            limits: PrefixLimits::NONE,
            role: None,
            role_strict: false,
            add_paths: AddPaths::OFF,
            bfd: None,
        }
    }
}

impl PeerExtras {
    /// What `text` says, in YAML with the keys of `bgp.peers`; `name` is for the errors. Fails
    /// with everything that is wrong.
    pub fn from_yaml(name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let name: Arc<str> = name.into();
        let tree = yaml::read(&name, text).map_err(|problem| vec![problem])?;
        let report = Report::default();
        let extras = read(&Item { node: &tree, path: String::new(), report: &report });
        let (problems, _) = report.into_parts();
        if problems.is_empty() { Ok(extras.unwrap_or_default()) } else { Err(problems) }
    }
}

fn read(item: &Item) -> Option<PeerExtras> {
    let mut extras = PeerExtras::default();
    let mut section = item.section()?;
    let passive = section.get("passive").and_then(|item| item.boolean());
    extras.passive = passive.unwrap_or_default();
    extras.graceful_restart = section.get("gracefulRestart").and_then(|item| item.boolean());
    let limits = section.get("maxPrefixes").and_then(|item| limits::read(&item));
    extras.limits = limits.unwrap_or(PrefixLimits::NONE);
    extras.role = section.get("role").and_then(|item| item.word(&ROLES));
    let strict = section.get("roleStrict");
    extras.role_strict = strict.as_ref().and_then(Item::boolean).unwrap_or_default();
    let add_paths = section.get("addPaths").and_then(|item| add_paths::read(&item));
    extras.add_paths = add_paths.unwrap_or(AddPaths::OFF);
    // A BGPPeer names an address, never a link.
    extras.bfd = section.get("bfd").and_then(|item| bfd_section::read(&item, None));
    section.finish();
    if let (Some(item), true, None) = (&strict, extras.role_strict, extras.role) {
        item.refuse("goes with role only; write \"role: peer\" or another beside it");
    }
    Some(extras)
}

#[cfg(test)]
mod tests {
    use brindle_bgp::rib::SendPaths;

    use super::*;

    #[test]
    fn what_calico_has_no_field_for_is_read_as_it_is_for_a_peer() {
        let text = "maxPrefixes: {ipv4: 100, action: warn}\naddPaths: {receive: true, send: 2}\n\
                    role: customer\nroleStrict: true\ngracefulRestart: false\npassive: true\nbfd: {}";
        let extras = PeerExtras::from_yaml("a", text).unwrap();
        assert_eq!(extras.limits.most, [Some(100), None]);
        let add_paths = AddPaths { receive: true, send: SendPaths::Best(2) };
        assert_eq!((extras.add_paths, extras.role), (add_paths, Some(Role::Customer)));
        assert!(extras.passive && extras.role_strict && extras.bfd.is_some());
        assert_eq!(extras.graceful_restart, Some(false));
        assert_eq!(PeerExtras::from_yaml("a", ""), Ok(PeerExtras::default()));
    }

    #[test]
    fn whatever_is_wrong_is_named() {
        for (text, want) in [
            (
                "maxPrefixes: {}",
                "a:1:14  maxPrefixes: sets no limit; write for instance \"{ipv4: 1000, ipv6: 1000}\"",
            ),
            (
                "peerIP: 10.0.0.1",
                "a:1:1  unknown field \"peerIP\"; accepted here: passive, gracefulRestart, maxPrefixes, role, roleStrict, addPaths, bfd",
            ),
            (
                "roleStrict: true",
                "a:1:13  roleStrict: goes with role only; write \"role: peer\" or another beside it",
            ),
            ("[1]", "a:1:1  expected keys with values, found a list"),
        ] {
            let problems = PeerExtras::from_yaml("a", text).unwrap_err();
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            assert_eq!(problems, [want], "{text}");
        }
    }
}
