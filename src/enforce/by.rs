//! Whose rule of the kernel it is, as its comment says.

use std::sync::Arc;

use brindle_policy::PolicyId;
use brindle_policy::model::PolicyKind;
use brindle_policy::names::{COMMENT_MARK, Comment};

/// Whose rule it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// A policy's, by index.
    Rule(PolicyId, usize),
    /// The end of a tier.
    Tier(Arc<str>),
    /// A profile's.
    Profile(Arc<str>),
    /// The end of a host endpoint, where neither a policy nor a profile decided.
    Host,
}

impl By {
    /// What a comment says; `None` if it is none of these.
    pub fn read(comment: &Comment) -> Option<By> {
        let words: Vec<&str> = comment.as_str().strip_prefix(COMMENT_MARK)?.split('/').collect();
        match words[..] {
            ["tier", tier] => Some(By::Tier(tier.into())),
            ["profile", name, ..] => Some(By::Profile(name.into())),
            ["host", ..] => Some(By::Host),
            ["rule", index, kind, ref names @ ..] => {
                let kind = PolicyKind::ALL.into_iter().find(|one| one.as_str() == kind)?;
                let (namespace, name) = match *names {
                    [namespace, name] => (Some(namespace.into()), name.into()),
                    [name] => (None, name.into()),
                    _ => return None,
                };
                Some(By::Rule(PolicyId { kind, namespace, name }, index.parse().ok()?))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_say_whose_a_rule_is() {
        let id = |kind, namespace: Option<&str>| PolicyId {
            kind,
            namespace: namespace.map(Into::into),
            name: "a.b".into(),
        };
        for policy in [
            id(PolicyKind::CalicoNetworkPolicy, Some("shop")),
            id(PolicyKind::GlobalNetworkPolicy, None),
        ] {
            let comment = Comment::policy_rule(&policy, 7);
            assert_eq!(By::read(&comment), Some(By::Rule(policy, 7)));
        }
        for (words, want) in [
            (vec!["tier", "security"], Some(By::Tier("security".into()))),
            (vec!["profile", "kns.a", "1"], Some(By::Profile("kns.a".into()))),
            (vec!["host", "edge"], Some(By::Host)),
            (vec!["rule", "x", "NetworkPolicy", "a", "b"], None),
            (vec!["rule", "1", "Nothing", "a"], None),
            (vec!["hook"], None),
        ] {
            assert_eq!(By::read(&Comment::new(&words)), want, "{words:?}");
        }
    }
}
