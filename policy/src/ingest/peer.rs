//! Peers of rules (policy-semantics 2.4).

use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicyPeer};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::Problems;
use super::address::block;
use super::labels::selector;
use crate::address::Cidr;
use crate::model::{IpBlock, PeerTerm};
use crate::selector::{Expr, Scope};

/// What one element of `from` or `to` in a policy of `namespace` stands for; `None` if it
/// cannot be understood.
pub(super) fn peer(
    typed: &NetworkPolicyPeer,
    namespace: &str,
    field: &str,
    problems: &mut Problems,
) -> Option<PeerTerm> {
    let follows = "this peer matches nothing";
    match (&typed.ip_block, &typed.namespace_selector, &typed.pod_selector) {
        (None, None, None) => {
            problems.add(
                field,
                format!(
                    "a peer without a field that is known; accepted are podSelector, \
                     namespaceSelector, both, or ipBlock; {follows}"
                ),
            );
            None
        }
        (Some(block), None, None) => ip_block(block, &format!("{field}.ipBlock"), problems),
        (Some(_), _, _) => {
            problems.add(
                format!("{field}.ipBlock"),
                format!("ipBlock together with a selector; accepted is either; {follows}"),
            );
            None
        }
        (None, of_namespace, of_pod) => {
            let mut read = |typed: &Option<LabelSelector>, scope, name: &str, missing: Expr| {
                let field = format!("{field}.{name}");
                match typed {
                    Some(typed) => selector(typed, scope, &field, follows, problems),
                    None => Some(missing),
                }
            };
            let own = Expr::InNamespace(namespace.into());
            let of_namespace = read(of_namespace, Scope::Namespace, "namespaceSelector", own);
            let of_pod = read(of_pod, Scope::Own, "podSelector", Expr::All);
            Some(PeerTerm::Endpoints(Expr::and([of_namespace?, of_pod?]).into()))
        }
    }
}

/// One bad `except` spoils the block: without it, it would stand for more than was meant.
fn ip_block(typed: &IPBlock, field: &str, problems: &mut Problems) -> Option<PeerTerm> {
    let follows = "this block matches nothing";
    let mut bad = |field: String, message: String| {
        problems.add(field, format!("{message}; {follows}"));
    };
    let cidr = match block(&typed.cidr) {
        Ok(cidr) => Some(cidr),
        Err(message) => {
            bad(format!("{field}.cidr"), message);
            None
        }
    };
    let mut read = |(index, text): (usize, &String)| -> Option<Cidr> {
        let field = format!("{field}.except[{index}]");
        match (block(text), cidr) {
            (Ok(except), Some(cidr)) if except == cidr || !cidr.covers(except) => {
                bad(field, format!("{except} is not a smaller block inside of {cidr}"));
                None
            }
            (Ok(except), _) => Some(except),
            (Err(message), _) => {
                bad(field, message);
                None
            }
        }
    };
    // All of them are read, so that every bad one is told.
    let except: Vec<Option<Cidr>> =
        typed.except.iter().flatten().enumerate().map(&mut read).collect();
    let except: Option<Vec<Cidr>> = except.into_iter().collect();
    Some(PeerTerm::Block(IpBlock { cidr: cidr?, except: except? }))
}
