//! A file's text as a tree of YAML nodes that know where they stand.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Error, Location, MessageFormatter, Spanned};

use crate::error::{Place, Problem};

/// No honest configuration comes near it; a file that does is refused unread.
pub(crate) const MAX_FILE_BYTES: u64 = 4 << 20;

/// As [`MAX_FILE_BYTES`]; the deepest key of ours is at level 6.
const MAX_DEPTH: usize = 32;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// A value as it was typed: what a scalar means is for the key that holds it to say.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A scalar, without its quotes.
    Scalar { text: String, kind: Scalar },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<(Key, Node)>),
}

/// What YAML takes a scalar for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    /// `true` or `false`, not quoted.
    Bool,
    /// A number, not quoted.
    Number,
    /// Anything else.
    Text,
}

/// The key of a mapping's entry.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) place: Place,
}

impl Value {
    /// What the user would call it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Value::Null => "nothing".to_owned(),
            Value::Scalar { text, kind: Scalar::Text } => format!("the text {}", quoted(text)),
            Value::Scalar { text, .. } => format!("the value {text}"),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map of keys".to_owned(),
        }
    }
}

/// `text` in quotes, and not without end.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("\"{}...\"", text.get(..end).unwrap_or_default()),
        None => format!("\"{text}\""),
    }
}

/// Reads one file. An empty one is [`Value::Null`]; one that is not a single YAML document is
/// a problem at the place where reading had to stop.
pub(crate) fn read(file: &Arc<str>, text: &str) -> Result<Node, Problem> {
    let whole = |message| Problem { place: Place::file(file), path: String::new(), message };
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(whole(too_big(text.len() as u64)));
    }
    if !text
        .lines()
        .any(|line| !line.trim_start().is_empty() && !line.trim_start().starts_with('#'))
    {
        return Ok(Node { place: Place::file(file), value: Value::Null });
    }
    let tree = serde_saphyr::from_str_with_options::<Spanned<Tree>>(text, options());
    match tree {
        Ok(tree) => Ok(Source { file, text }.node(tree)),
        Err(error) => Err(problem(file, error.without_snippet())),
    }
}

/// What no file at all says.
pub(crate) fn nothing() -> Node {
    Node { place: Place::file(""), value: Value::Null }
}

/// What to say of a file of `bytes`.
pub(crate) fn too_big(bytes: u64) -> String {
    format!("the file has {bytes} bytes; accepted are at most {MAX_FILE_BYTES}")
}

/// Limits under which a hostile file costs little, and an honest one never notices them.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: 100_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 20_000,
            max_alias_expansions_per_anchor: 1_000,
        },
    }
}

/// The library's error without what [`Problem`] says itself.
fn problem(file: &Arc<str>, error: &Error) -> Problem {
    let place = match error.location() {
        Some(at) => Place { file: file.clone(), line: at.line(), column: at.column() },
        None => Place::file(file),
    };
    // An error below an alias comes wrapped with both places.
    let error = match error {
        Error::AliasError { error, .. } => error,
        other => other,
    };
    let said = serde_saphyr::UserMessageFormatter.format_message(error);
    let message = match error {
        Error::MultipleDocuments { .. } => {
            "a second YAML document begins here; a configuration file holds one".to_owned()
        }
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key {} stands twice in one map", quoted(key))
        }
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => {
            format!("nested deeper than {MAX_DEPTH} levels, which no configuration is")
        }
        Error::Budget { .. } => "more values than any configuration has".to_owned(),
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "aliases that stand for more values than any configuration has".to_owned()
        }
        _ => format!("not valid YAML: {said}"),
    };
    Problem { place, path: String::new(), message }
}

/// What serde makes of a node; positions come from the [`Spanned`] around it.
enum Tree {
    Null,
    /// A boolean or a number, whose text is taken from the file: `1.10` is a good AS number
    /// and a bad float.
    Plain(Scalar),
    Text(String),
    List(Vec<Spanned<Tree>>),
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Plain(Scalar::Bool))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Plain(Scalar::Number))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Tree, E> {
        Ok(Tree::Plain(Scalar::Number))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Plain(Scalar::Number))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Tree, E> {
        Ok(Tree::Plain(Scalar::Number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Plain(Scalar::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Tree, E> {
        Ok(Tree::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Map(entries))
    }
}

/// The file that a tree was read from.
struct Source<'a> {
    file: &'a Arc<str>,
    text: &'a str,
}

impl Source<'_> {
    fn node(&self, tree: Spanned<Tree>) -> Node {
        let value = match tree.value {
            Tree::Null => Value::Null,
            Tree::Plain(kind) => Value::Scalar { text: self.typed(tree.defined), kind },
            Tree::Text(text) => Value::Scalar { text, kind: Scalar::Text },
            Tree::List(items) => {
                Value::List(items.into_iter().map(|item| self.node(item)).collect())
            }
            Tree::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| {
                        let key = Key { place: self.place(key.referenced), name: key.value };
                        (key, self.node(value))
                    })
                    .collect(),
            ),
        };
        Node { place: self.place(tree.referenced), value }
    }

    fn place(&self, at: Location) -> Place {
        Place { file: self.file.clone(), line: at.line(), column: at.column() }
    }

    /// The text that stands at `at`.
    fn typed(&self, at: Location) -> String {
        let span = at.span();
        let bytes = span.byte_offset().zip(span.byte_len());
        bytes
            .and_then(|(start, len)| {
                let start = usize::try_from(start).ok()?;
                let end = start.checked_add(usize::try_from(len).ok()?)?;
                self.text.get(start..end)
            })
            .unwrap_or_default()
            .trim()
            .to_owned()
    }
}
