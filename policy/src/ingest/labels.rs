//! Labels, and selectors over them (policy-semantics 2.2).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::name::{is_label_key, is_label_value};
use super::{Problems, shown};
use crate::model::Labels;
use crate::selector::{Expr, Key, Scope};

/// What a key must look like, in words.
const KEYS: &str = "up to 63 letters, digits, \"-\", \"_\" and \".\", with a letter or digit \
                    first and last, before it perhaps a DNS name and a slash";
/// What a value must look like, in words.
const VALUES: &str = "none or up to 63 letters, digits, \"-\", \"_\" and \".\", with a letter or \
                      digit first and last";

/// `metadata.labels`. One that the API server would refuse is a problem but counts: to drop it
/// might take the object out of a policy that closes it.
pub(super) fn labels(typed: Option<&BTreeMap<String, String>>, problems: &mut Problems) -> Labels {
    let mut labels = Labels::new();
    for (key, value) in typed.into_iter().flatten() {
        let mut bad = |message: String| {
            problems.add(
                format!("metadata.labels[{}]", path_key(key)),
                format!("{message}; the label counts as it is"),
            );
        };
        if !is_label_key(key) {
            bad(format!("{} is not the key of a label; accepted are {KEYS}", shown(key)));
        } else if !is_label_value(value) {
            bad(format!("{} is not the value of a label; accepted are {VALUES}", shown(value)));
        }
        labels.insert(key.as_str().into(), value.as_str().into());
    }
    labels
}

/// What a selector means for the labels of `scope`; the empty one is everything. `None` if any
/// part of it cannot be understood: the rest alone would stand for more than was meant.
///
/// `field` is its path, `follows` says what a caller makes of `None`.
pub(super) fn selector(
    selector: &LabelSelector,
    scope: Scope,
    field: &str,
    follows: &str,
    problems: &mut Problems,
) -> Option<Expr> {
    let before = problems.0.len();
    let mut parts = Vec::new();
    for (name, value) in selector.match_labels.iter().flatten() {
        let field = format!("{field}.matchLabels[{}]", path_key(name));
        let mut checks = Checks { follows, problems };
        if checks.key(&field, name) & checks.value(&field, value) {
            parts.push(Expr::is_in(key(scope, name), BTreeSet::from([value.as_str().into()])));
        }
    }
    for (index, requirement) in selector.match_expressions.iter().flatten().enumerate() {
        let field = format!("{field}.matchExpressions[{index}]");
        parts.extend(expression(requirement, scope, &field, &mut Checks { follows, problems }));
    }
    (problems.0.len() == before).then(|| Expr::and(parts))
}

fn expression(
    requirement: &LabelSelectorRequirement,
    scope: Scope,
    field: &str,
    checks: &mut Checks<'_>,
) -> Option<Expr> {
    let LabelSelectorRequirement { key: name, operator, values } = requirement;
    let typed = values.as_deref().unwrap_or_default();
    let is_key = checks.key(&format!("{field}.key"), name);
    let key = key(scope, name);
    let label_in = |key, checks: &mut Checks<'_>| {
        let values = checks.values(field, operator, typed)?;
        Some(Expr::is_in(key, values))
    };
    let has = |key, checks: &mut Checks<'_>| {
        checks.no_values(field, operator, typed).then_some(Expr::Has(key))
    };
    let meaning = match operator.as_str() {
        "In" => label_in(key, checks),
        "NotIn" => label_in(key, checks).map(Expr::not),
        "Exists" => has(key, checks),
        "DoesNotExist" => has(key, checks).map(Expr::not),
        _ => {
            checks.bad(
                &format!("{field}.operator"),
                &format!(
                    "{} is not an operator; accepted are In, NotIn, Exists and DoesNotExist",
                    shown(operator)
                ),
            );
            None
        }
    };
    meaning.filter(|_| is_key)
}

fn key(scope: Scope, name: &str) -> Key {
    Key { scope, name: name.into() }
}

/// A label's key as part of a path.
fn path_key(key: &str) -> String {
    if is_label_key(key) { key.to_owned() } else { shown(key) }
}

struct Checks<'a> {
    follows: &'a str,
    problems: &'a mut Problems,
}

impl Checks<'_> {
    fn bad(&mut self, field: &str, message: &str) {
        self.problems.add(field, format!("{message}; {}", self.follows));
    }

    fn key(&mut self, field: &str, key: &str) -> bool {
        let fits = is_label_key(key);
        if !fits {
            let message = format!("{} is not the key of a label; accepted are {KEYS}", shown(key));
            self.bad(field, &message);
        }
        fits
    }

    fn value(&mut self, field: &str, value: &str) -> bool {
        let fits = is_label_value(value);
        if !fits {
            let value = shown(value);
            self.bad(field, &format!("{value} is not the value of a label; accepted are {VALUES}"));
        }
        fits
    }

    fn values(
        &mut self,
        field: &str,
        operator: &str,
        typed: &[String],
    ) -> Option<BTreeSet<Arc<str>>> {
        let field = format!("{field}.values");
        if typed.is_empty() {
            self.bad(&field, &format!("no values; {operator} needs one or more"));
            return None;
        }
        let mut fit = true;
        for (index, value) in typed.iter().enumerate() {
            fit &= self.value(&format!("{field}[{index}]"), value);
        }
        fit.then(|| typed.iter().map(|value| value.as_str().into()).collect())
    }

    fn no_values(&mut self, field: &str, operator: &str, typed: &[String]) -> bool {
        if let Some(first) = typed.first() {
            let message = format!("{} and perhaps more; {operator} takes no values", shown(first));
            self.bad(&format!("{field}.values"), &message);
        }
        typed.is_empty()
    }
}
