//! Profiles (policy-semantics 3.9).

use super::list;
use super::rule::rules;
use crate::api::calico::{Profile as Object, ProfileSpec};
use crate::ingest::network_policy::rules_field;
use crate::ingest::{Problems, name};
use crate::model::{Direction, Labels, Problem, Profile};

/// What `object` means, and what is wrong with it: the same is in [`Profile::problems`]. A bad
/// rule is as one of a policy. Fails only if it has no name.
pub fn profile(object: &Object) -> Result<(Profile, Vec<Problem>), Problem> {
    let mut problems = Problems::default();
    let name = name::name("Profile", &object.metadata, &mut problems)?;
    let nothing = ProfileSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&nothing);
    let labels: Labels = spec
        .labels_to_apply
        .iter()
        .flatten()
        .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
        .collect();
    let mut rules =
        |typed, direction| rules(typed, direction, None, &rules_field(direction), &mut problems);
    let ingress = rules(list(&spec.ingress), Direction::Ingress);
    let egress = rules(list(&spec.egress), Direction::Egress);
    let problems = problems.0;
    Ok((Profile { name, labels, ingress, egress, problems: problems.clone() }, problems))
}
