//! `bgp.drain:` when a node is drained that nobody has told to be, and how.

use std::fmt;
use std::time::Duration;

/// `bgp.drain:` what of the Node object has the node drained, and how long that takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainSettings {
    /// `onCordon`, false by default: while the Node is cordoned.
    pub on_cordon: bool,
    /// `taints`, none by default: while the Node has one of them.
    pub taints: Vec<TaintMatch>,
    /// `wait`, 30 s by default: longest wait for traffic to go elsewhere before what the node
    /// originates is withdrawn.
    pub wait: Duration,
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self { on_cordon: false, taints: Vec::new(), wait: Duration::from_secs(30) }
    }
}

/// Taints of a Node: `key`, `key=value`, `key:Effect` or `key=value:Effect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaintMatch {
    /// The taint's key.
    pub key: String,
    /// Its value; `None` takes any.
    pub value: Option<String>,
    /// Its effect; `None` takes any.
    pub effect: Option<String>,
}

impl fmt::Display for TaintMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(value) = &self.value {
            write!(f, "={value}")?;
        }
        if let Some(effect) = &self.effect {
            write!(f, ":{effect}")?;
        }
        Ok(())
    }
}
