//! Calico's selector language (policy-semantics 3.1).
//!
//! ```text
//! selector   = [ or ]                                  ; the empty one is all()
//! or         = and *( "||" and )
//! and        = unary *( "&&" unary )
//! unary      = *"!" primary
//! primary    = "(" or ")" / "all()" / "global()" / "has(" name ")" / comparison
//! comparison = name ( "==" / "!=" / "contains" / "starts with" / "ends with" ) string
//!            / name ( "in" / "not in" ) "{" [ string *( "," string ) [ "," ] ] "}"
//! ```
//!
//! Names of labels become [`Key`]s at once: what Calico gives endpoints as labels with a prefix,
//! we keep apart, so that no pod can pretend to its namespace's labels by writing `pcns.team`
//! among its own. A selector of namespaces is the same language, its names looked up with that
//! prefix.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use nom::branch::alt;
use nom::bytes::complete::{tag, take_till, take_while, take_while1};
use nom::character::complete::char;
use nom::combinator::{not, peek, recognize, value};
use nom::sequence::{delimited, pair, preceded, terminated};
use nom::{IResult, Parser};

use super::{Expr, Key, Scope, TextMatch};
use crate::model::{
    ACCOUNT_NAME_LABEL, NAMESPACE_NAME_LABEL, ORCHESTRATOR_LABEL, SHORT_ACCOUNT_NAME_LABEL,
};

/// How long a selector may be, in octets.
pub const MOST_OCTETS: usize = 1024;
/// How long the name of a label may be.
const LONGEST_NAME: usize = 512;
/// How deep brackets may be nested; nobody writes more, and the stack is not endless.
const DEEPEST: usize = 64;

/// Whose labels the plain names of a selector are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The endpoint's.
    Endpoint,
    /// Its namespace's: `namespaceSelector`. `all()` is whatever is in a namespace.
    Namespace,
    /// Its service account's: `serviceAccountSelector`. `all()` is whatever has one.
    ServiceAccount,
}

/// Text that is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct SelectorError {
    /// Where, in octets from the start.
    pub offset: usize,
    /// Where, in characters, of which the first is 1.
    pub column: usize,
    /// What was found there and what would be accepted.
    pub message: String,
}

/// The meaning of a selector of endpoints.
///
/// # Errors
/// If it is not of the language; `global()` is not of this one either.
pub fn parse(text: &str) -> Result<Expr, SelectorError> {
    parse_of(text, Whose::Endpoint)
}

/// The meaning of a selector whose plain names are labels of `whose`.
///
/// # Errors
/// If it is not of the language; `global()` is not of this one either.
pub fn parse_of(text: &str, whose: Whose) -> Result<Expr, SelectorError> {
    if text.len() > MOST_OCTETS {
        let message = format!("a selector of {} octets; accepted are {MOST_OCTETS}", text.len());
        return Err(wrong(text, MOST_OCTETS, message));
    }
    let reader = Reader { whose };
    let read = || {
        let rest = spaces(text);
        if rest.is_empty() {
            return Ok(reader.all());
        }
        let (rest, expr) = reader.or(rest, 0)?;
        match rest {
            "" => Ok(expr),
            rest => Err(reader.after_a_term(rest, "the end of the selector")),
        }
    };
    read().map_err(|bad: Bad<'_>| wrong(text, text.len() - bad.rest.len(), bad.message))
}

/// The meaning of the `namespaceSelector` of a rule: `global()`, which is whatever is in no
/// namespace, or a selector of namespaces.
///
/// # Errors
/// If it is neither.
pub fn parse_peer_namespaces(text: &str) -> Result<Expr, SelectorError> {
    match spaces(text).strip_prefix("global(").map(spaces).and_then(|rest| rest.strip_prefix(')')) {
        Some(rest) if spaces(rest).is_empty() => Ok(Expr::not(Expr::Has(namespace_name()))),
        _ => parse_of(text, Whose::Namespace),
    }
}

fn wrong(text: &str, offset: usize, message: String) -> SelectorError {
    let starts = text.char_indices().map(|(start, _)| start).chain([text.len()]);
    let before = starts.take_while(|start| *start <= offset);
    let (index, offset) = before.enumerate().last().unwrap_or_default();
    SelectorError { offset, column: index + 1, message }
}

/// The rest of the text at which something is wrong, and what.
struct Bad<'t> {
    rest: &'t str,
    message: String,
}

type Read<'t, T> = Result<(&'t str, T), Bad<'t>>;

/// The label of every namespace that is its name.
fn namespace_name() -> Key {
    Key { scope: Scope::Namespace, name: NAMESPACE_NAME_LABEL.into() }
}

#[derive(Clone, Copy)]
struct Reader {
    whose: Whose,
}

impl Reader {
    fn all(self) -> Expr {
        match self.whose {
            Whose::Endpoint => Expr::All,
            Whose::Namespace => Expr::Has(namespace_name()),
            Whose::ServiceAccount => {
                Expr::Has(Key { scope: Scope::ServiceAccount, name: ACCOUNT_NAME_LABEL.into() })
            }
        }
    }

    fn or(self, text: &str, depth: usize) -> Read<'_, Expr> {
        let (mut rest, first) = self.and(text, depth)?;
        let mut parts = vec![first];
        while let Some(after) = rest.strip_prefix("||") {
            let (after, part) = self.and(spaces(after), depth)?;
            parts.push(part);
            rest = after;
        }
        Ok((rest, Expr::or(parts)))
    }

    fn and(self, text: &str, depth: usize) -> Read<'_, Expr> {
        let (mut rest, first) = self.unary(text, depth)?;
        let mut parts = vec![first];
        while let Some(after) = rest.strip_prefix("&&") {
            let (after, part) = self.unary(spaces(after), depth)?;
            parts.push(part);
            rest = after;
        }
        Ok((rest, Expr::and(parts)))
    }

    /// All readers of the grammar start at no space and leave none behind.
    fn unary(self, text: &str, depth: usize) -> Read<'_, Expr> {
        let mut rest = text;
        let mut negated = false;
        while let Some(after) = rest.strip_prefix('!') {
            negated = !negated;
            rest = spaces(after);
        }
        let (rest, expr) = self.primary(rest, depth)?;
        Ok((spaces(rest), if negated { Expr::not(expr) } else { expr }))
    }

    fn primary(self, text: &str, depth: usize) -> Read<'_, Expr> {
        if let Some(inner) = text.strip_prefix('(') {
            return self.brackets(text, inner, depth);
        }
        if let Ok((rest, _)) = call(text, "all") {
            return Ok((rest, self.all()));
        }
        if call(text, "global").is_ok() {
            let accepted = "accepted is it alone as the namespaceSelector of a rule";
            return Err(Bad { rest: text, message: format!("found \"global()\"; {accepted}") });
        }
        if let Some(inner) = text.strip_prefix("has(") {
            let (rest, name) = self.name(spaces(inner), "the name of a label")?;
            return match spaces(rest).strip_prefix(')') {
                Some(rest) => Ok((rest, Expr::Has(self.key(name)))),
                None => Err(found(spaces(rest), "\")\" after the name", "")),
            };
        }
        self.comparison(text)
    }

    fn brackets<'t>(self, text: &'t str, inner: &'t str, depth: usize) -> Read<'t, Expr> {
        if depth == DEEPEST {
            let message = format!("found a bracket in {depth} others; accepted are {DEEPEST}");
            return Err(Bad { rest: text, message });
        }
        let (rest, expr) = self.or(spaces(inner), depth + 1)?;
        match rest.strip_prefix(')') {
            Some(rest) => Ok((rest, expr)),
            None => Err(self.after_a_term(rest, "\")\"")),
        }
    }

    fn comparison(self, text: &str) -> Read<'_, Expr> {
        let what = "the name of a label, \"has(\", \"all()\", \"!\" or \"(\"";
        let (rest, name) = self.name(text, what)?;
        let rest = spaces(rest);
        let Ok((rest, operator)) = operator(rest) else {
            let operators = "==, !=, in, not in, contains, starts with or ends with";
            let hint = match name {
                _ if rest.starts_with('=') => "; did you mean ==?".to_owned(),
                "all" | "global" => format!("; did you mean {name}()?"),
                "has" => "; did you mean has( without a space?".to_owned(),
                "not" => "; did you mean !?".to_owned(),
                _ if ends_a_term(rest) => format!("; did you mean has({})?", shown(name)),
                _ => String::new(),
            };
            return Err(found(rest, &format!("{operators} after the name"), &hint));
        };
        let (key, rest) = (self.key(name), spaces(rest));
        let one = |value: &str| is_in(&key, [value.into()].into());
        match operator {
            Operator::Is => string(rest).map(|(rest, value)| (rest, one(value))),
            Operator::IsNot => string(rest).map(|(rest, value)| (rest, Expr::not(one(value)))),
            Operator::Text(how) => {
                let (rest, text) = string(rest)?;
                Ok((rest, Expr::Text(key, how, text.into())))
            }
            Operator::In => set(rest).map(|(rest, values)| (rest, is_in(&key, values))),
            Operator::NotIn => {
                set(rest).map(|(rest, values)| (rest, Expr::not(is_in(&key, values))))
            }
        }
    }

    fn name<'t>(self, text: &'t str, what: &str) -> Read<'t, &'t str> {
        let Ok((rest, name)) = token(take_while1(is_of_name), text) else {
            let hint = match text.chars().next() {
                Some('"' | '\'') => "; names are not quoted",
                Some('=') => "; != is written without a space",
                _ => "",
            };
            return Err(found(text, what, hint));
        };
        if name.len() > LONGEST_NAME {
            let message =
                format!("a name of {} characters; accepted are {LONGEST_NAME}", name.len());
            return Err(Bad { rest: text, message });
        }
        Ok((rest, name))
    }

    /// Which label a name is (policy-semantics 3.2).
    fn key(self, name: &str) -> Key {
        let key = |scope, name: &str| Key { scope, name: name.into() };
        let of_namespace = |name: &str| match name {
            "projectcalico.org/name" => namespace_name(),
            name => key(Scope::Namespace, name),
        };
        match self.whose {
            Whose::Namespace => of_namespace(name),
            Whose::ServiceAccount => key(Scope::ServiceAccount, name),
            Whose::Endpoint => match name {
                "projectcalico.org/namespace" => namespace_name(),
                SHORT_ACCOUNT_NAME_LABEL | ORCHESTRATOR_LABEL => key(Scope::ServiceAccount, name),
                name => match (name.strip_prefix("pcns."), name.strip_prefix("pcsa.")) {
                    (Some(name), _) => of_namespace(name),
                    (None, Some(name)) => key(Scope::ServiceAccount, name),
                    (None, None) => key(Scope::Own, name),
                },
            },
        }
    }

    /// What is wrong with text that follows a whole term.
    fn after_a_term<'t>(self, rest: &'t str, end: &str) -> Bad<'t> {
        let hint = match rest.as_bytes() {
            [b'&', ..] => "; did you mean &&?",
            [b'|', ..] => "; did you mean ||?",
            _ => "",
        };
        found(rest, &format!("\"&&\", \"||\" or {end}"), hint)
    }
}

/// The label has one of these values. That of a namespace's name says which namespace.
fn is_in(key: &Key, values: BTreeSet<Arc<str>>) -> Expr {
    if *key == namespace_name() {
        Expr::or(values.into_iter().map(Expr::InNamespace))
    } else {
        Expr::is_in(key.clone(), values)
    }
}

#[derive(Clone, Copy)]
enum Operator {
    Is,
    IsNot,
    In,
    NotIn,
    Text(TextMatch),
}

/// A comparison's operator. Words end where no more letters follow.
fn operator(text: &str) -> IResult<&str, Operator> {
    let boundary = || not(peek(take_while1(|c: char| c.is_ascii_alphanumeric() || c == '_')));
    let word = |word| terminated(tag(word), boundary());
    let two = |first, second| {
        recognize(terminated((tag(first), take_while(is_space), tag(second)), boundary()))
    };
    alt((
        value(Operator::Is, tag("==")),
        value(Operator::IsNot, tag("!=")),
        value(Operator::In, word("in")),
        value(Operator::NotIn, two("not", "in")),
        value(Operator::Text(TextMatch::Contains), word("contains")),
        value(Operator::Text(TextMatch::StartsWith), two("starts", "with")),
        value(Operator::Text(TextMatch::EndsWith), two("ends", "with")),
    ))
    .parse(text)
}

/// `{"a", "b"}`, with a comma after the last or not.
fn set(text: &str) -> Read<'_, BTreeSet<Arc<str>>> {
    let Some(rest) = text.strip_prefix('{') else {
        return Err(found(text, "\"{\" and values in quotes", ""));
    };
    let mut values = BTreeSet::new();
    let mut rest = spaces(rest);
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((rest, values));
        }
        let (after, value) = string(rest).map_err(|bad| match rest {
            "" => found(rest, "a value in quotes or \"}\"", ""),
            _ => bad,
        })?;
        values.insert(value.into());
        rest = spaces(after);
        match rest.strip_prefix(',') {
            Some(after) => rest = spaces(after),
            None if rest.starts_with('}') => {}
            None => return Err(found(rest, "\",\" or \"}\"", "")),
        }
    }
}

/// A value in quotes. There are no escapes: one with both kinds of quotes cannot be written.
fn string(text: &str) -> Read<'_, &str> {
    let quoted = |quote: char| delimited(char(quote), take_till(move |c| c == quote), char(quote));
    if let Ok(read) = token(alt((quoted('"'), quoted('\''))), text) {
        return Ok(read);
    }
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let message = format!("found a value that does not end; accepted is {quote} after it");
            Err(Bad { rest: text, message })
        }
        Some('=') => Err(found(text, "a value in quotes", "; equality is ==")),
        _ => Err(found(text, "a value in quotes", "")),
    }
}

/// `name()`, with spaces between the brackets or not.
fn call<'t>(text: &'t str, name: &'static str) -> IResult<&'t str, &'t str> {
    let open = pair(tag(name), char('('));
    recognize(pair(open, preceded(take_while(is_space), char(')')))).parse(text)
}

fn token<'t, O>(
    mut parser: impl Parser<&'t str, Output = O, Error = nom::error::Error<&'t str>>,
    text: &'t str,
) -> IResult<&'t str, O> {
    parser.parse(text)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-')
}

/// `text` without spaces in front.
fn spaces(text: &str) -> &str {
    text.trim_start_matches(is_space)
}

fn ends_a_term(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(['&', '|', ')'])
}

/// What is wrong where `rest` starts with something that is not `accepted`.
fn found<'t>(rest: &'t str, accepted: &str, hint: &str) -> Bad<'t> {
    let message = format!("found {}; accepted is {accepted}{hint}", Found(rest));
    Bad { rest, message }
}

/// The first word or sign of a text.
struct Found<'t>(&'t str);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.0.chars().next() else { return f.write_str("the end") };
        let word = self.0.trim_start_matches(is_of_name);
        match &self.0[..self.0.len() - word.len()] {
            "" => write!(f, "{:?}", first.to_string()),
            word => f.write_str(&shown(word)),
        }
    }
}

/// A name, cut where it is long.
fn shown(name: &str) -> String {
    const MOST: usize = 32;
    match name.get(..MOST) {
        Some(start) if name.len() > MOST => format!("\"{start}...\""),
        _ => format!("\"{name}\""),
    }
}

#[cfg(test)]
mod tests;
