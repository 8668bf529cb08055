//! What looks like a mistake.

use brindle_policy::World;

use crate::control::view::{Finding, Level};

/// Everything that looks like a mistake, by policy.
pub(super) fn findings(world: &World) -> Vec<Finding> {
    let mut findings = Vec::new();
    for policy in world.policies() {
        findings.extend(policy.problems.iter().map(|problem| Finding {
            object: policy.id.to_string(),
            level: Level::Error,
            check: "invalid".to_owned(),
            field: problem.field.clone(),
            message: problem.message.clone(),
        }));
    }
    findings
}
