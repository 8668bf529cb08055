//! Which expressions may hold for an endpoint, without trying them all.
//!
//! An expression is filed under anchors: conditions of which it needs at least one, such as
//! "in namespace shop with `app=db`". An endpoint is looked up under all that it fulfils.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;

use crate::model::{Labels, Pod};
use crate::selector::{Expr, Scope};

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

/// What a pod is to be looked up under.
pub(super) fn of_pod<'a>(pod: &'a Pod, of_namespace: &'a Labels) -> impl Iterator<Item = u64> {
    let own = pod.labels.iter().map(|label| (Scope::Own, label));
    let labels = own.chain(of_namespace.iter().map(|label| (Scope::Namespace, label)));
    let labels = labels.flat_map(|(scope, (key, value))| {
        let label = Some((scope, &**key));
        [(label, None), (label, Some(&**value))]
    });
    std::iter::once((None, None)).chain(labels).flat_map(|(label, value)| {
        let anywhere = Anchor { namespace: None, label, value };
        [hash(&anywhere), hash(&Anchor { namespace: Some(&pod.key.namespace), ..anywhere })]
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
