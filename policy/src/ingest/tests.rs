//! What objects mean, and what is said about bad ones.

mod objects;
mod policies;
mod spoiled;

use crate::model::Problem;

/// Problems as `field: message` lines.
fn lines(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect()
}

fn read<T: serde::de::DeserializeOwned>(yaml: &str) -> T {
    serde_yaml::from_str(yaml).unwrap_or_else(|error| panic!("{error} in\n{yaml}"))
}
