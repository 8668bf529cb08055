//! Reading a tree key by key, noting everything that is wrong on the way.

use std::cell::RefCell;
use std::fmt::Display;
use std::str::FromStr;

use crate::error::{Place, Problem};
use crate::yaml::{Key, Node, Scalar, Value, quoted};

/// What was found so far.
#[derive(Default)]
pub(crate) struct Report {
    errors: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl Report {
    /// Errors and warnings, in the order in which they were found.
    pub(crate) fn into_parts(self) -> (Vec<Problem>, Vec<Problem>) {
        (self.errors.into_inner(), self.warnings.into_inner())
    }

    pub(crate) fn refuse(&self, place: &Place, path: &str, message: impl Into<String>) {
        self.errors.borrow_mut().push(Problem {
            place: place.clone(),
            path: path.to_owned(),
            message: message.into(),
        });
    }

    pub(crate) fn warn(&self, place: &Place, path: &str, message: impl Into<String>) {
        self.warnings.borrow_mut().push(Problem {
            place: place.clone(),
            path: path.to_owned(),
            message: message.into(),
        });
    }
}

/// A value, the path that leads to it, and where complaints about it go.
#[derive(Clone)]
pub(crate) struct Item<'a> {
    pub(crate) node: &'a Node,
    pub(crate) path: String,
    pub(crate) report: &'a Report,
}

/// A value that was understood, and what it was read from.
#[derive(Clone)]
pub(crate) struct Good<'a, T> {
    pub(crate) value: T,
    pub(crate) item: Item<'a>,
}

impl<'a> Item<'a> {
    /// Says that the value is wrong.
    pub(crate) fn refuse(&self, message: impl Into<String>) {
        self.report.refuse(&self.node.place, &self.path, message);
    }

    /// Says that the value is doubtful.
    pub(crate) fn warn(&self, message: impl Into<String>) {
        self.report.warn(&self.node.place, &self.path, message);
    }

    /// The value as a map of keys.
    pub(crate) fn section(&self) -> Option<Section<'a>> {
        let entries = match &self.node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null => &[],
            other => {
                self.refuse(format!("expected keys with values, found {}", other.describe()));
                return None;
            }
        };
        Some(Section { item: self.clone(), entries, known: Vec::new() })
    }

    /// The elements of the list that the value must be.
    pub(crate) fn items(&self) -> Option<Vec<Item<'a>>> {
        let Value::List(nodes) = &self.node.value else {
            self.refuse(format!("expected a list, found {}", self.node.value.describe()));
            return None;
        };
        let item = |(index, node)| Item {
            node,
            path: format!("{}[{index}]", self.path),
            report: self.report,
        };
        Some(nodes.iter().enumerate().map(item).collect())
    }

    /// What `read` makes of each element; those that it refuses are missing.
    pub(crate) fn list<T>(
        &self,
        read: impl Fn(&Item<'a>) -> Option<T>,
    ) -> Option<Vec<Good<'a, T>>> {
        let good = |item: Item<'a>| Some(Good { value: read(&item)?, item });
        Some(self.items()?.into_iter().filter_map(good).collect())
    }

    /// How many elements the list has; zero for anything else.
    pub(crate) fn len(&self) -> usize {
        match &self.node.value {
            Value::List(nodes) => nodes.len(),
            _ => 0,
        }
    }

    /// Whether it is a single value.
    pub(crate) fn is_scalar(&self) -> bool {
        matches!(self.node.value, Value::Scalar { .. })
    }

    /// The text of the scalar that the value must be, quoted or not.
    pub(crate) fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar { text, .. } => Some(text),
            other => {
                self.refuse(format!("expected one value, found {}", other.describe()));
                None
            }
        }
    }

    /// The scalar as a `T`, whose error says what is accepted.
    pub(crate) fn parse<T: FromStr<Err: Display>>(&self) -> Option<T> {
        self.text()?.parse().map_err(|error: T::Err| self.refuse(error.to_string())).ok()
    }

    /// `true` or `false`, not quoted.
    pub(crate) fn boolean(&self) -> Option<bool> {
        if let Value::Scalar { text, kind } = &self.node.value {
            match (text.to_ascii_lowercase().as_str(), kind) {
                ("true", Scalar::Bool) => return Some(true),
                ("false", Scalar::Bool) => return Some(false),
                ("true" | "yes" | "on", _) => {
                    self.refuse(format!("{} is text; did you mean true?", quoted(text)));
                    return None;
                }
                ("false" | "no" | "off", _) => {
                    self.refuse(format!("{} is text; did you mean false?", quoted(text)));
                    return None;
                }
                _ => {}
            }
        }
        self.refuse(format!("expected true or false, found {}", self.node.value.describe()));
        None
    }

    /// A whole number from `least` to `most`.
    pub(crate) fn number(&self, least: u32, most: u32) -> Option<u32> {
        let text = self.text()?;
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|n| digits && (least..=most).contains(n));
        if number.is_none() {
            self.refuse(format!("{} is not a whole number from {least} to {most}", quoted(text)));
        }
        number
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let accepted: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.refuse(format!(
                "{} is not accepted here; accepted: {}{}",
                quoted(text),
                accepted.join(", "),
                did_you_mean(text, accepted.iter().copied()),
            ));
        }
        found.map(|(_, meaning)| *meaning)
    }
}

/// A map whose keys are asked for by name; [`Section::finish`] refuses the others.
pub(crate) struct Section<'a> {
    pub(crate) item: Item<'a>,
    entries: &'a [(Key, Node)],
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The value of `key`; `None` if it is missing or empty.
    pub(crate) fn get(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.known.push(key);
        let (_, node) = self.entries.iter().find(|(known, _)| known.name == key)?;
        let item = Item { node, path: join(&self.item.path, key), report: self.item.report };
        (!matches!(node.value, Value::Null)).then_some(item)
    }

    /// The value of `key`; `None` if it is missing. Unlike with [`Section::get`] an empty value
    /// is refused: what protects shall not be lost with a value that a template left out.
    pub(crate) fn filled(&mut self, key: &'static str) -> Option<Item<'a>> {
        let found = self.get(key);
        if let (None, Some((key, _))) =
            (&found, self.entries.iter().find(|(known, _)| known.name == key))
        {
            let message = "has no value; give it one, or leave the key out";
            let path = join(&self.item.path, &key.name);
            self.item.report.refuse(&key.place, &path, message);
        }
        found
    }

    /// The value of `key`, which must be there; `example` says how it could look.
    pub(crate) fn need(&mut self, key: &'static str, example: &str) -> Option<Item<'a>> {
        let found = self.get(key);
        if found.is_none() {
            let place = self.entries.iter().find(|(known, _)| known.name == key);
            let place = place.map_or(&self.item.node.place, |(key, _)| &key.place);
            let message = format!("{key} is missing; write for instance \"{key}: {example}\"");
            self.item.report.refuse(place, &self.item.path, message);
        }
        found
    }

    /// Refuses every key that nobody has asked for.
    pub(crate) fn finish(self) {
        for (key, _) in self.entries {
            if self.known.contains(&key.name.as_str()) {
                continue;
            }
            let mut message = format!("unknown field {}", quoted(&key.name));
            match did_you_mean(&key.name, self.known.iter().copied()) {
                hint if hint.is_empty() => {
                    message.push_str("; accepted here: ");
                    message.push_str(&self.known.join(", "));
                }
                hint => message.push_str(&hint),
            }
            self.item.report.refuse(&key.place, &self.item.path, message);
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// `; did you mean "..."?` with the word that is nearest to what was typed; empty if none is
/// near enough to be meant.
pub(crate) fn did_you_mean<'w>(typed: &str, words: impl Iterator<Item = &'w str>) -> String {
    // Comparing costs the product of the lengths: nobody mistypes a key at this length.
    if typed.len() > 64 {
        return String::new();
    }
    let lower = typed.to_lowercase();
    words
        .map(|word| (strsim::damerau_levenshtein(&lower, &word.to_lowercase()), word))
        .filter(|(distance, word)| *distance <= (word.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map_or_else(String::new, |(_, word)| format!("; did you mean \"{word}\"?"))
}
