//! Tiers (policy-semantics 4).

use super::text;
use crate::api::calico::Tier as Object;
use crate::ingest::{Problems, name, shown};
use crate::model::{PolicyOrder, Problem, Tier, TierAction};

/// What `object` means, and what is wrong with it. Fails only if it has no name.
pub fn tier(object: &Object) -> Result<(Tier, Vec<Problem>), Problem> {
    let mut problems = Problems::default();
    let name = name::name("Tier", &object.metadata, &mut problems)?;
    let spec = object.spec.as_ref();
    let order = spec.and_then(|spec| spec.order);
    if order.is_some_and(f64::is_nan) {
        problems.add("spec.order", "not a number; accepted are numbers; the tier is the last");
    }
    let default_action = match text(spec.and_then(|spec| spec.default_action.as_ref())) {
        None | Some("Deny") => TierAction::Deny,
        Some("Pass") => TierAction::Pass,
        Some(typed) => {
            let typed = shown(typed);
            let message = format!(
                "{typed} is no action of a tier; accepted are Deny and Pass; it counts as Deny"
            );
            problems.add("spec.defaultAction", message);
            TierAction::Deny
        }
    };
    Ok((Tier { name, order: PolicyOrder::new(order), default_action }, problems.0))
}
