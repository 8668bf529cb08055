//! What counts of a tier or a host endpoint with a value of a wrong type of which no good version
//! is known: as much as can be read of it. Without the one its policies would not be enforced,
//! without the other an interface would be open (policy-semantics 7.11).

use std::sync::Arc;

use brindle_policy::api::calico;
use brindle_policy::ingest;
use brindle_policy::model::HostEndpoint;
use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};

use super::kind::Kind;
use super::object::Object;

/// An object in the place of one that is refused.
#[derive(Debug, PartialEq)]
pub(super) struct StandIn {
    pub(super) object: Object,
    /// What follows from it, as the end of a sentence about what is wrong.
    pub(super) follows: &'static str,
}

/// Whether a host endpoint without a field that was meant may let more through: by other profiles,
/// or past the policies that its labels would have brought.
fn opens(field: &str) -> bool {
    let is_known = field.starts_with("spec") || field.starts_with("metadata.labels");
    is_known && !["spec.expectedIPs", "spec.ports"].contains(&field)
}

/// Of more entries than these none is looked for that is good.
const MOST: usize = 1_000;

/// What stands in for `value`, which is refused; nothing for other kinds, and for a host endpoint
/// of which the node or the interface cannot be told.
pub(super) fn of(kind: Kind, value: &Value) -> Option<StandIn> {
    match kind {
        Kind::Tier => {
            let (object, _) = readable::<calico::Tier>(value)?;
            let (tier, _) = ingest::tier(&object).ok()?;
            let follows = "until that is mended the rest of it counts: without an order it is the \
                           last tier, and unless it says Pass it denies";
            Some(StandIn { object: Object::Tier(Arc::new(tier)), follows })
        }
        Kind::HostEndpoint => {
            let (object, lost) = readable::<calico::HostEndpoint>(value)?;
            let (host, _) = ingest::host_endpoint(&object).ok()?;
            let (host, follows) = if !lost.iter().any(|field| opens(field)) {
                (host, "until that is mended the rest of it counts")
            } else {
                let follows = "until that is mended the rest of it counts, without profiles: what \
                               no policy allows is denied, but for failsafe ports";
                (HostEndpoint { profiles: Vec::new(), ..host }, follows)
            };
            Some(StandIn { object: Object::HostEndpoint(Arc::new(host)), follows })
        }
        _ => None,
    }
}

/// The object without the fields that are not what a `T` has there, and these.
fn readable<T: DeserializeOwned>(value: &Value) -> Option<(T, Vec<String>)> {
    let mut object = Value::Mapping(Mapping::new());
    let mut lost = Vec::new();
    for (section, fields) in value.as_mapping()? {
        let Value::Mapping(fields) = fields else {
            keep::<T>(&mut object, &[section], fields, &mut lost);
            continue;
        };
        keep::<T>(&mut object, &[section], &Value::Mapping(Mapping::new()), &mut lost);
        for (name, field) in fields {
            match field {
                // One label that is wrong takes no other with it.
                Value::Mapping(entries) if entries.len() <= MOST => {
                    let nothing = Value::Mapping(Mapping::new());
                    keep::<T>(&mut object, &[section, name], &nothing, &mut lost);
                    for (key, entry) in entries {
                        keep::<T>(&mut object, &[section, name, key], entry, &mut lost);
                    }
                }
                field => keep::<T>(&mut object, &[section, name], field, &mut lost),
            }
        }
    }
    Some((T::deserialize(&object).ok()?, lost))
}

/// Puts a field in if the object is a `T` with it.
fn keep<T: DeserializeOwned>(
    object: &mut Value,
    path: &[&Value],
    field: &Value,
    lost: &mut Vec<String>,
) {
    let mut with = object.clone();
    let Some((last, parents)) = path.split_last() else { return };
    let parent = parents.iter().try_fold(&mut with, |value, step| value.get_mut(*step));
    if let Some(Value::Mapping(parent)) = parent {
        parent.insert((*last).clone(), field.clone());
        if T::deserialize(&with).is_ok() {
            *object = with;
            return;
        }
    }
    let names = path.iter().map(|step| step.as_str().unwrap_or("?"));
    lost.push(names.collect::<Vec<_>>().join("."));
}

#[cfg(test)]
mod tests {
    use brindle_policy::model::TierAction;

    use super::*;

    fn stand_in(kind: Kind, text: &str) -> Option<Object> {
        of(kind, &serde_yaml::from_str(text).expect("YAML")).map(|one| one.object)
    }

    #[test]
    fn a_tier_counts_with_what_can_be_read_of_it() {
        for (spec, order, action) in [
            ("{order: first, defaultAction: Pass}", None, TierAction::Pass),
            ("{order: 7, defaultAction: [Pass]}", Some(7.0), TierAction::Deny),
            ("{order: first, defaultAction: 7}", None, TierAction::Deny),
            ("7", None, TierAction::Deny),
        ] {
            let text = format!("metadata: {{name: t, labels: {{a: 7}}}}\nspec: {spec}");
            let Some(Object::Tier(tier)) = stand_in(Kind::Tier, &text) else { panic!("{spec}") };
            assert_eq!(&*tier.name, "t");
            let order = brindle_policy::model::PolicyOrder::new(order);
            assert_eq!((tier.order, tier.default_action), (order, action), "{spec}");
        }
    }

    #[test]
    fn a_host_endpoint_is_closed_wherever_its_interface_can_be_told() {
        // Labels and profiles that count; nothing where it cannot be told what it is for.
        for (metadata, spec, want) in [
            ("a: b", "node: n1, interfaceName: eth0, ports: 7", Some((1, 1))),
            ("a: b", "node: n1, interfaceName: eth0, expectedIPs: 192.0.2.1", Some((1, 1))),
            ("a: b, c: true", "node: n1, interfaceName: eth0", Some((1, 0))),
            ("a: b, c: true", "node: n1, interfaceName: eth0, ports: 7", Some((1, 0))),
            ("a: b", "node: n1, interfaceName: eth0, profiles: 7", Some((1, 0))),
            ("a: b", "node: n1, interfaceName: 7, expectedIPs: [192.0.2.1]", Some((1, 0))),
            ("a: b", "node: n1, interfaceName: 7", None),
            ("a: b", "node: 1, interfaceName: eth0", None),
        ] {
            let profiles = if spec.contains("profiles") { "" } else { ", profiles: [open]" };
            let text = format!(
                "metadata: {{name: h, labels: {{{metadata}}}}}\nspec: {{{spec}{profiles}}}"
            );
            let got = stand_in(Kind::HostEndpoint, &text).map(|object| match object {
                Object::HostEndpoint(host) => (host.labels.len(), host.profiles.len()),
                other => panic!("{other:?}"),
            });
            assert_eq!(got, want, "{metadata} {spec}");
        }
        let policy = "metadata: {name: p}\nspec: 7";
        assert!(stand_in(Kind::GlobalNetworkSet, policy).is_none(), "others are not closed so");
    }
}
