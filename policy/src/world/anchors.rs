//! Which expressions may hold for an endpoint or a network set, without trying them all.
//!
//! An expression is filed under anchors: conditions of which it needs at least one, such as
//! "in namespace shop with `app=db`". Each is looked up under all that it fulfils.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;

use crate::selector::{Expr, Scope, Subject};

/// A condition; what it leaves open holds for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Anchor<'a> {
    namespace: Option<&'a str>,
    label: Option<(Scope, &'a str)>,
    value: Option<&'a str>,
}

/// Expressions with more values than this are filed under the label's key.
const MOST_VALUES: usize = 32;

/// What `expr` is to be filed under. An anchor is told by its hash: two that meet there only
/// mean that an expression is tried in vain.
pub(super) fn of_expr(expr: &Expr) -> Vec<u64> {
    let mut hashes: Vec<u64> = anchors(expr).iter().map(hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// What an endpoint or a network set is to be looked up under.
pub(super) fn of_subject<'a>(subject: &Subject<'a>) -> impl Iterator<Item = u64> + use<'a> {
    let scopes = [
        (Scope::Own, Some(subject.own)),
        (Scope::Namespace, subject.of_namespace),
        (Scope::ServiceAccount, subject.of_account),
    ];
    let labels = scopes.into_iter().flat_map(|(scope, labels)| {
        let labels = labels.into_iter().flatten();
        labels.flat_map(move |(key, value)| {
            let label = Some((scope, &**key));
            [(label, None), (label, Some(&**value))]
        })
    });
    let namespace = subject.namespace;
    std::iter::once((None, None)).chain(labels).flat_map(move |(label, value)| {
        let anywhere = Anchor { namespace: None, label, value };
        let here = namespace.map(|name| hash(&Anchor { namespace: Some(name), ..anywhere }));
        std::iter::once(hash(&anywhere)).chain(here)
    })
}

fn hash(anchor: &Anchor<'_>) -> u64 {
    let mut hasher = FxHasher::default();
    anchor.hash(&mut hasher);
    hasher.finish()
}

/// Conditions of which at least one holds wherever `expr` does.
fn anchors(expr: &Expr) -> Vec<Anchor<'_>> {
    match expr {
        Expr::Nothing => Vec::new(),
        Expr::All | Expr::Not(_) => vec![Anchor::default()],
        Expr::InNamespace(name) => {
            vec![Anchor { namespace: Some(name), ..Anchor::default() }]
        }
        Expr::Has(key) | Expr::Text(key, ..) => {
            vec![Anchor { label: Some((key.scope, &key.name)), ..Anchor::default() }]
        }
        Expr::In(key, values) => {
            let with_key = Anchor { label: Some((key.scope, &*key.name)), ..Anchor::default() };
            if values.len() > MOST_VALUES {
                return vec![with_key];
            }
            values.iter().map(|value| Anchor { value: Some(value), ..with_key }).collect()
        }
        Expr::Or(parts) => parts.iter().flat_map(anchors).collect(),
        Expr::And(parts) => of_all(parts),
    }
}

/// Any part would do: takes the one that says most, and joins the namespace to it.
fn of_all(parts: &[Expr]) -> Vec<Anchor<'_>> {
    let namespace = parts.iter().find_map(|part| match part {
        Expr::InNamespace(name) => Some(&**name),
        _ => None,
    });
    let says = |anchor: &Anchor<'_>| {
        [anchor.value.is_some(), anchor.label.is_some(), anchor.namespace.is_some()]
    };
    let rank = |anchors: &Vec<Anchor<'_>>| {
        // A part without anchors never holds: nothing says more than that.
        let least = anchors.iter().map(says).min().unwrap_or([true; 3]);
        (least, std::cmp::Reverse(anchors.len()))
    };
    let best = parts.iter().map(anchors).max_by_key(rank);
    let mut best = best.unwrap_or_else(|| vec![Anchor::default()]);
    if let Some(namespace) = namespace {
        best.retain(|anchor| anchor.namespace.is_none_or(|other| other == namespace));
        best.iter_mut().for_each(|anchor| anchor.namespace = Some(namespace));
    }
    best
}
