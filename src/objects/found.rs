//! An object, who it is, and where it was found.

use std::fmt;

use serde_json::Value;

use crate::cluster::kind::Kind;

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace, if its kind has them.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Id {
    /// `GlobalNetworkPolicy(closed)`, `NetworkPolicy(shop/db)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{}({namespace}/{})", self.kind.name(), self.name),
            None => write!(f, "{}({})", self.kind.name(), self.name),
        }
    }
}

/// An object as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Which it is.
    pub id: Id,
    /// All of it: `apiVersion`, `kind`, `metadata`, `spec`.
    pub value: Value,
}

/// Where something stands in what was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was named; `<stdin>` for standard input.
    pub file: String,
    /// Which document of it, from one.
    pub document: usize,
    /// The line on which the document begins, or that of the mistake; from one.
    pub line: usize,
    /// The way to the object within a list: `items[2].`; else empty.
    pub within: String,
}

impl fmt::Display for Place {
    /// `FILE:LINE: document 2`; a first document goes without saying.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        if self.document > 1 {
            write!(f, ": document {}", self.document)?;
        }
        Ok(())
    }
}

/// Something that is wrong with what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where; `None` if it was not read from a text.
    pub place: Option<Place>,
    /// Which object, as far as it can be told.
    pub object: Option<String>,
    /// The path of the field; empty for the whole.
    pub field: String,
    /// The value, what would be accepted, and what follows.
    pub message: String,
}

impl Mistake {
    /// One about a place as a whole.
    pub(super) fn at(place: &Place, field: &str, message: impl Into<String>) -> Self {
        Self {
            place: Some(place.clone()),
            object: None,
            field: format!("{}{field}", place.within).trim_end_matches('.').to_owned(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_says_where_what_and_why() {
        let place = |document, within: &str| Place {
            file: "a.yaml".to_owned(),
            document,
            line: 7,
            within: within.to_owned(),
        };
        for (mistake, want) in [
            (Mistake::at(&place(1, ""), "", "is no object"), "a.yaml:7: is no object"),
            (
                Mistake::at(&place(2, "items[1]."), "kind", "is missing"),
                "a.yaml:7: document 2: items[1].kind: is missing",
            ),
            (
                Mistake {
                    object: Some("Tier(x)".to_owned()),
                    ..Mistake::at(&place(1, ""), "spec.order", "\"a\" is no number")
                },
                "a.yaml:7: Tier(x): spec.order: \"a\" is no number",
            ),
        ] {
            assert_eq!(mistake.to_string(), want);
        }
    }
}
