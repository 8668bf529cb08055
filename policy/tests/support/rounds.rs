//! Random cases by the round: again as many while some kind of case hardly came up, for then
//! agreement on it would say nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// What kinds of cases came up, and how often.
pub(crate) type Seen = BTreeMap<String, u32>;

const MOST_ROUNDS: usize = 5;

/// Tries `cases` of a strategy, and again as many until each kind came up as often as it
/// must, or there were five rounds.
///
/// # Panics
///
/// Where a case fails, and where a kind is still too rare after the last round.
pub(crate) fn until_seen<S: Strategy>(
    cases: u32,
    strategy: &S,
    kinds: &[(impl AsRef<str>, u32)],
    test: impl Fn(S::Value, &mut Seen) -> Result<(), TestCaseError>,
) {
    let seen = RefCell::new(Seen::new());
    let rare = || -> Vec<String> {
        let seen = seen.borrow();
        let often = |what: &str| seen.get(what).copied().unwrap_or_default();
        let rare = kinds.iter().filter(|(what, least)| often(what.as_ref()) < *least);
        rare.map(|(what, least)| format!("{} {} of {least}", what.as_ref(), often(what.as_ref())))
            .collect()
    };
    for _ in 0..MOST_ROUNDS {
        let mut runner = TestRunner::new(Config { cases, ..Config::default() });
        let result = runner.run(strategy, |case| test(case, &mut seen.borrow_mut()));
        result.unwrap_or_else(|failure| panic!("{failure}"));
        if rare().is_empty() {
            return;
        }
    }
    panic!("too rare: {:?}; seen: {:#?}", rare(), seen.borrow());
}
