//! What became of expectations.

use serde::{Deserialize, Serialize};

use super::explain::Outcome;
use super::policy::Direction;

/// What became of the tests of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTestReport {
    /// The file.
    pub file: String,
    /// Whether all were as expected.
    pub passed: bool,
    /// How many flows were judged.
    pub checks: usize,
    /// Those that were not as expected.
    pub failures: Vec<TestFailure>,
    /// Rules of the policies that decided no flow.
    pub never_exercised: Vec<RuleName>,
    /// How many rules the policies have.
    pub rules: usize,
}

/// A flow that was not as expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestFailure {
    /// The name of its test.
    pub test: String,
    /// The line of the test in the file, from one.
    pub line: u64,
    /// Where it comes from, as the test has it.
    pub from: String,
    /// Where it goes.
    pub to: String,
    /// To which port; absent for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// What was expected; absent where it could not be asked.
    pub expected: Outcome,
    /// What became of it; absent where it could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub got: Option<Outcome>,
    /// Why, a line each.
    pub why: Vec<String>,
}

/// A rule by its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleName {
    /// `NetworkPolicy shop/db-clients`.
    pub policy: String,
    /// The direction.
    pub direction: Direction,
    /// Its place among the rules of that direction, from zero.
    pub rule: usize,
    /// What it matches.
    pub text: String,
}
