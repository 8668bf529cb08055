//! What looks like a mistake.

use brindle_policy::World;
use brindle_policy::lint::{self, Check};

use crate::control::view::{Finding, Level};

/// Everything that looks like a mistake, by policy.
pub(super) fn findings(world: &World) -> Vec<Finding> {
    let findings = lint::lint(world).into_iter().map(|warning| Finding {
        object: warning.object.to_string(),
        level: match warning.check {
            // Part of the object, or all of it, has no effect.
            Check::NotUnderstood | Check::UnknownTier | Check::ServiceWithoutNamespace => {
                Level::Error
            }
            _ => Level::Warning,
        },
        check: warning.check.to_string(),
        field: warning.field,
        message: warning.message,
        fix: warning.fix,
    });
    findings.collect()
}
