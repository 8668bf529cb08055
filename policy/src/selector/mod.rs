//! Which endpoints a policy or a rule means: expressions over labels.
//!
//! Label selectors of Kubernetes are read into them by [`crate::ingest`], those of Calico by
//! [`parse()`]. An expression is
//! kept in a normal form, so that the same meaning written differently is mostly the same
//! value, and sets can be shared.

mod parse;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

pub use parse::{MOST_OCTETS, SelectorError, Whose, parse, parse_of, parse_peer_namespaces};

use crate::model::Labels;

/// Whose label a key names. They are kept apart so that a pod cannot pretend to its
/// namespace's labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The endpoint's own.
    Own,
    /// Those of its namespace.
    Namespace,
    /// Those of its service account ([`crate::model::ServiceAccount::labels`]), which only
    /// pods have.
    ServiceAccount,
}

/// A label's key, and whose label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Whose label.
    pub scope: Scope,
    /// The key.
    pub name: Arc<str>,
}

/// An expression over an endpoint's labels and namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expr {
    /// Every endpoint.
    All,
    /// No endpoint.
    Nothing,
    /// The endpoint is in this namespace.
    InNamespace(Arc<str>),
    /// The label is there.
    Has(Key),
    /// The label is there with one of these values. Never empty in normal form.
    In(Key, BTreeSet<Arc<str>>),
    /// The label is there, and its value has a text in it, at its start or at its end.
    Text(Key, TextMatch, Arc<str>),
    /// The inner one does not hold. `NotIn` of Kubernetes is `Not(In(..))`: it holds for an
    /// absent label too (policy-semantics 2.2).
    Not(Arc<Expr>),
    /// All hold. Two or more in normal form, sorted, none twice.
    And(Vec<Expr>),
    /// One holds. Two or more in normal form, sorted, none twice.
    Or(Vec<Expr>),
}

/// How a value is compared with a text, case and all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TextMatch {
    /// The text is somewhere in it.
    Contains,
    /// It starts with the text.
    StartsWith,
    /// It ends with the text.
    EndsWith,
}

impl TextMatch {
    /// Whether `value` is as `text` asks.
    pub fn holds(self, value: &str, text: &str) -> bool {
        match self {
            TextMatch::Contains => value.contains(text),
            TextMatch::StartsWith => value.starts_with(text),
            TextMatch::EndsWith => value.ends_with(text),
        }
    }

    /// As selectors of Calico's language have it.
    pub fn as_str(self) -> &'static str {
        match self {
            TextMatch::Contains => "contains",
            TextMatch::StartsWith => "starts with",
            TextMatch::EndsWith => "ends with",
        }
    }
}

/// What expressions look at: the labels of a pod, of a host endpoint or of a network set.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its namespace; `None` for what is in none.
    pub namespace: Option<&'a str>,
    /// Its own labels.
    pub own: &'a Labels,
    /// Its namespace's labels; none if the namespace is not known, or if it is in none.
    pub of_namespace: Option<&'a Labels>,
    /// Its service account's labels; none if it has none, as all but pods.
    pub of_account: Option<&'a Labels>,
}

impl Subject<'_> {
    /// The value of a label.
    pub fn label(&self, key: &Key) -> Option<&str> {
        let labels = match key.scope {
            Scope::Own => Some(self.own),
            Scope::Namespace => self.of_namespace,
            Scope::ServiceAccount => self.of_account,
        };
        labels?.get(&key.name).map(|value| &**value)
    }
}

impl Expr {
    /// All of `parts` hold, in normal form.
    pub fn and(parts: impl IntoIterator<Item = Expr>) -> Expr {
        let mut flat = BTreeSet::new();
        for part in parts {
            match part {
                Expr::All => {}
                Expr::Nothing => return Expr::Nothing,
                Expr::And(inner) => flat.extend(inner),
                part => drop(flat.insert(part)),
            }
        }
        one_or(flat, Expr::All, Expr::And)
    }

    /// One of `parts` holds, in normal form.
    pub fn or(parts: impl IntoIterator<Item = Expr>) -> Expr {
        let mut flat = BTreeSet::new();
        for part in parts {
            match part {
                Expr::Nothing => {}
                Expr::All => return Expr::All,
                Expr::Or(inner) => flat.extend(inner),
                part => drop(flat.insert(part)),
            }
        }
        one_or(flat, Expr::Nothing, Expr::Or)
    }

    /// `inner` does not hold, in normal form.
    #[allow(clippy::should_implement_trait)] // takes no receiver: it builds, as its siblings do
    pub fn not(inner: Expr) -> Expr {
        match inner {
            Expr::All => Expr::Nothing,
            Expr::Nothing => Expr::All,
            Expr::Not(inner) => Arc::unwrap_or_clone(inner),
            inner => Expr::Not(Arc::new(inner)),
        }
    }

    /// The label is there with one of `values`, in normal form.
    pub fn is_in(key: Key, values: BTreeSet<Arc<str>>) -> Expr {
        if values.is_empty() { Expr::Nothing } else { Expr::In(key, values) }
    }

    /// Whether it holds for `subject`.
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        match self {
            Expr::All => true,
            Expr::Nothing => false,
            Expr::InNamespace(name) => subject.namespace == Some(&**name),
            Expr::Has(key) => subject.label(key).is_some(),
            Expr::In(key, values) => subject.label(key).is_some_and(|value| values.contains(value)),
            Expr::Text(key, how, text) => {
                subject.label(key).is_some_and(|value| how.holds(value, text))
            }
            Expr::Not(inner) => !inner.matches(subject),
            Expr::And(parts) => parts.iter().all(|part| part.matches(subject)),
            Expr::Or(parts) => parts.iter().any(|part| part.matches(subject)),
        }
    }

    /// The namespaces outside of which it never holds; `None` if it may hold anywhere.
    pub fn namespaces(&self) -> Option<BTreeSet<&Arc<str>>> {
        match self {
            Expr::Nothing => Some(BTreeSet::new()),
            Expr::InNamespace(name) => Some(BTreeSet::from([name])),
            Expr::All | Expr::Has(_) | Expr::In(..) | Expr::Text(..) | Expr::Not(_) => None,
            Expr::And(parts) => parts
                .iter()
                .filter_map(Expr::namespaces)
                .reduce(|a, b| a.intersection(&b).copied().collect()),
            Expr::Or(parts) => parts.iter().map(Expr::namespaces).reduce(|a, b| {
                let (mut a, b) = (a?, b?);
                a.extend(b);
                Some(a)
            })?,
        }
    }

    /// Whether it holds for whatever is in a namespace; `None` if that depends on the labels
    /// of who is in there.
    pub fn holds_in(&self, namespace: &str, labels: &Labels) -> Option<bool> {
        let of_namespace = |key: &Key| match key.scope {
            Scope::Own | Scope::ServiceAccount => None,
            Scope::Namespace => Some(labels.get(&key.name)),
        };
        match self {
            Expr::All => Some(true),
            Expr::Nothing => Some(false),
            Expr::InNamespace(name) => Some(**name == *namespace),
            Expr::Has(key) => of_namespace(key).map(|value| value.is_some()),
            Expr::In(key, values) => {
                of_namespace(key).map(|value| value.is_some_and(|value| values.contains(value)))
            }
            Expr::Text(key, how, text) => {
                of_namespace(key).map(|value| value.is_some_and(|value| how.holds(value, text)))
            }
            Expr::Not(inner) => inner.holds_in(namespace, labels).map(|holds| !holds),
            Expr::And(parts) => decided(parts, false, |part| part.holds_in(namespace, labels)),
            Expr::Or(parts) => decided(parts, true, |part| part.holds_in(namespace, labels)),
        }
    }

    /// Whether it holds only for what has labels of a scope: what is in a namespace, or what
    /// has a service account. May say no of what follows only from several parts together.
    pub fn needs(&self, scope: Scope) -> bool {
        match self {
            Expr::Nothing => true,
            Expr::All | Expr::Not(_) => false,
            Expr::InNamespace(_) => scope == Scope::Namespace,
            Expr::Has(key) | Expr::In(key, _) | Expr::Text(key, ..) => key.scope == scope,
            Expr::And(parts) => parts.iter().any(|part| part.needs(scope)),
            Expr::Or(parts) => parts.iter().all(|part| part.needs(scope)),
        }
    }

    /// Whether it names some namespace that somebody is, or is not, in.
    pub fn names_namespace(&self) -> bool {
        match self {
            Expr::InNamespace(_) => true,
            Expr::All | Expr::Nothing | Expr::Has(_) | Expr::In(..) | Expr::Text(..) => false,
            Expr::Not(inner) => inner.names_namespace(),
            Expr::And(parts) | Expr::Or(parts) => parts.iter().any(Expr::names_namespace),
        }
    }

    /// The keys of the labels of one scope that it looks at.
    pub fn keys(&self, scope: Scope) -> BTreeSet<&Arc<str>> {
        match self {
            Expr::All | Expr::Nothing | Expr::InNamespace(_) => BTreeSet::new(),
            Expr::Has(key) | Expr::In(key, _) | Expr::Text(key, ..) if key.scope == scope => {
                BTreeSet::from([&key.name])
            }
            Expr::Has(_) | Expr::In(..) | Expr::Text(..) => BTreeSet::new(),
            Expr::Not(inner) => inner.keys(scope),
            Expr::And(parts) | Expr::Or(parts) => {
                parts.iter().flat_map(|part| part.keys(scope)).collect()
            }
        }
    }

    /// Whether it looks at labels of a scope.
    pub fn looks_at(&self, scope: Scope) -> bool {
        match self {
            Expr::All | Expr::Nothing | Expr::InNamespace(_) => false,
            Expr::Has(key) | Expr::In(key, _) | Expr::Text(key, ..) => key.scope == scope,
            Expr::Not(inner) => inner.looks_at(scope),
            Expr::And(parts) | Expr::Or(parts) => parts.iter().any(|part| part.looks_at(scope)),
        }
    }
}

/// `decisive` if one part is that, its opposite if all parts are, otherwise not decided.
fn decided(parts: &[Expr], decisive: bool, value: impl Fn(&Expr) -> Option<bool>) -> Option<bool> {
    let mut open = false;
    for part in parts {
        match value(part) {
            Some(value) if value == decisive => return Some(decisive),
            Some(_) => {}
            None => open = true,
        }
    }
    (!open).then_some(!decisive)
}

fn one_or(parts: BTreeSet<Expr>, none: Expr, many: fn(Vec<Expr>) -> Expr) -> Expr {
    let mut parts: Vec<Expr> = parts.into_iter().collect();
    match parts.len() {
        0 => none,
        1 => parts.swap_remove(0),
        _ => many(parts),
    }
}

impl fmt::Display for Expr {
    /// As operators write it: `ns=shop, app=api, ns.team in (a, b), !legacy`. The same text
    /// means the same expression, so sets may be named after it: values are quoted where they
    /// have other characters than label values have.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = |key: &Key| match key.scope {
            Scope::Own => quoted(&key.name),
            Scope::Namespace => format!("ns.{}", quoted(&key.name)),
            Scope::ServiceAccount => format!("sa.{}", quoted(&key.name)),
        };
        match self {
            Expr::All => f.write_str("all"),
            Expr::Nothing => f.write_str("nothing"),
            Expr::InNamespace(name) => write!(f, "ns={}", quoted(name)),
            Expr::Has(label) => write!(f, "has {}", key(label)),
            Expr::In(label, values) => match values.first() {
                Some(only) if values.len() == 1 => write!(f, "{}={}", key(label), quoted(only)),
                _ => {
                    let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
                    write!(f, "{} in ({})", key(label), values.join(", "))
                }
            },
            Expr::Text(label, how, text) => {
                write!(f, "{} {} {}", key(label), how.as_str(), quoted(text))
            }
            Expr::Not(inner) => write!(f, "not ({inner})"),
            Expr::And(parts) => join(f, parts, " and "),
            Expr::Or(parts) => join(f, parts, " or "),
        }
    }
}

fn join(f: &mut fmt::Formatter<'_>, parts: &[Expr], word: &str) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(word)?;
        }
        match part {
            Expr::And(_) | Expr::Or(_) => write!(f, "({part})")?,
            part => write!(f, "{part}")?,
        }
    }
    Ok(())
}

/// A text as it is if it has only characters that label values have, else in quotes.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("{text:?}") }
}
