//! From the objects of other networks to a configuration of ours, and to policies that it
//! enforces.
//!
//! ```text
//!  objects ─► calico ──────┐
//!                          ├─► Imported: draft of brindle.yaml, policies, what is left to do,
//!  objects ─► kube_router ─┘             and what has no equivalent here, each with the reason
//! ```
//!
//! Nothing is dropped in silence: every field that says something and that we do not follow is
//! among what was refused. No I/O: the command reads objects and prints.

pub mod calico;
mod draft;
pub mod kube_router;
mod object;

use std::fmt;

use serde_json::Value;

pub use draft::Draft;

/// What became of the objects.
#[derive(Debug, Default)]
pub struct Imported {
    /// The configuration, as far as it could be told.
    pub config: Draft,
    /// Policies and what they refer to, ready to be applied.
    pub policies: Vec<Value>,
    /// What has to be done besides, as commands or in words.
    pub to_do: Vec<String>,
    /// What has no equivalent.
    pub refused: Vec<Refusal>,
}

/// Something that has no equivalent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// The object: `BGPPeer tor-a`.
    pub object: String,
    /// The field or flag; empty for all of the object.
    pub field: String,
    /// Why, and what to do instead.
    pub reason: String,
}

impl fmt::Display for Refusal {
    /// `BGPPeer tor-a: spec.password: ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.field {
            "" => write!(f, "{}: {}", self.object, self.reason),
            field => write!(f, "{}: {field}: {}", self.object, self.reason),
        }
    }
}

impl Imported {
    fn refuse(&mut self, object: &str, field: impl Into<String>, reason: impl Into<String>) {
        let (field, reason) = (field.into(), reason.into());
        self.refused.push(Refusal { object: object.to_owned(), field, reason });
    }

    /// Refuses those fields of `spec` that are there, say something, and are not `known`.
    fn refuse_others(&mut self, object: &str, spec: &Value, known: &[&str], reason: &str) {
        for (field, value) in spec.as_object().into_iter().flatten() {
            if !known.contains(&&**field) && !object::says_nothing(value) {
                self.refuse(object, format!("spec.{field}"), reason);
            }
        }
    }
}

#[cfg(test)]
mod tests;
