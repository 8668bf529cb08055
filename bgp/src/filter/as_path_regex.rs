//! Regular expressions over AS paths, in the manner of router configurations.

use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::{fmt, sync::Arc};

use regex::bytes::{Regex, RegexBuilder};

use crate::msg::AsPath;

/// Octets that an expression may have.
const MAX_TEXT: usize = 1024;
/// Octets that its program may take: `(.{1000}){1000}` is short as a text.
const MAX_PROGRAM: usize = 1 << 20;
/// What `_` stands for: a border of a number, as in other routers.
const BORDER: &str = r"(?:^|$|[ ,{}()\[\]])";

/// A regular expression over an AS path written as `65001 65002 {65003,65004} (65005)`, found
/// anywhere in it unless anchored by `^` and `$`. `_` matches the border of a number. Matching
/// takes time in proportion to the length of the path.
#[derive(Clone, Debug)]
pub struct AsPathRegex {
    text: Arc<str>,
    regex: Regex,
}

impl AsPathRegex {
    /// Whether it is found in `path`.
    pub fn is_match(&self, path: &AsPath) -> bool {
        self.regex.is_match(path.to_string().as_bytes())
    }
}

impl FromStr for AsPathRegex {
    type Err = BadAsPathRegex;

    fn from_str(text: &str) -> Result<Self, BadAsPathRegex> {
        let bad = |why: String| BadAsPathRegex { text: text.to_owned(), why };
        if text.len() > MAX_TEXT {
            let why = format!("it has {} octets, accepted are at most {MAX_TEXT}", text.len());
            return Err(BadAsPathRegex { text: text.chars().take(32).collect(), why });
        }
        let regex = RegexBuilder::new(&with_borders(text))
            .unicode(false)
            .size_limit(MAX_PROGRAM)
            .dfa_size_limit(MAX_PROGRAM)
            .nest_limit(32)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => bad("it is too large".to_owned()),
                // The last line says what is wrong, those before draw where.
                error => {
                    let said = error.to_string();
                    let last = said.lines().last().unwrap_or_default();
                    bad(last.trim_start_matches("error: ").to_owned())
                }
            })?;
        Ok(Self { text: text.into(), regex })
    }
}

/// The expression with each `_` replaced that stands neither behind a backslash nor in
/// brackets.
fn with_borders(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut is_escaped, mut depth) = (false, 0usize);
    for c in text.chars() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            '_' if depth == 0 => {
                out.push_str(BORDER);
                continue;
            }
            _ => {}
        }
        out.push(c);
    }
    out
}

/// The text that it was read from.
impl fmt::Display for AsPathRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for AsPathRegex {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for AsPathRegex {}

impl Hash for AsPathRegex {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// The text is no regular expression, or one that is too large.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not an expression over AS paths: {why}; accepted is for instance \
     \"^65001 .* 65010$\" or \"_65001_\""
)]
pub struct BadAsPathRegex {
    text: String,
    why: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msg::{AsSegment, SegmentKind};
    use crate::net::Asn;

    fn asn(number: u32) -> Asn {
        Asn::new(number).unwrap()
    }

    #[test]
    fn an_expression_is_found_in_the_path_as_operators_write_it() {
        let plain = |numbers: &[u32]| AsPath::sequence(numbers.iter().copied().map(asn));
        let mut set = plain(&[65001]);
        set.0.push(AsSegment { kind: SegmentKind::Set, asns: vec![asn(7), asn(65010)] });
        for (text, path, want) in [
            ("^65001 .* 65010$", plain(&[65001, 7, 65010]), true),
            ("^65001 .* 65010$", plain(&[65001, 65010]), false),
            ("^65001( .*)? 65010$", plain(&[65001, 65010]), true),
            ("_65001_", plain(&[65001]), true),
            ("_65001_", plain(&[1, 65001, 2]), true),
            ("_65001_", plain(&[165001, 650011]), false),
            ("65001", plain(&[165001]), true),
            ("^$", plain(&[]), true),
            ("^$", plain(&[1]), false),
            ("_7_", set.clone(), true),
            ("_65010_$", set.clone(), true),
            ("_6501_", set, false),
            (r"^6451[2-9]_", plain(&[64515, 1]), true),
            (r"^\d+$", plain(&[64515]), true),
            (r"^\d+$", plain(&[64515, 1]), false),
            (r"\_", plain(&[1, 2]), false),
            ("[_]", plain(&[1, 2]), false),
            ("", plain(&[1]), true),
        ] {
            let regex: AsPathRegex = text.parse().unwrap();
            assert_eq!(regex.is_match(&path), want, "{text:?} in {path}");
            assert_eq!(regex.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_expression_or_a_huge_one_is_refused_with_the_reason() {
        let nested = format!("{}1{}", "(".repeat(40), ")".repeat(40));
        let long = "1".repeat(MAX_TEXT + 1);
        for (text, want) in [
            ("(65001", "unclosed group"),
            ("65001)", "unopened group"),
            ("*", "repetition operator missing expression"),
            ("[", "unclosed character class"),
            (r"(a)\1", "backreferences are not supported"),
            ("((((.{1,99}){1,99}){1,99}){1,99})", "too large"),
            (&nested, "nest"),
            (&long, "at most 1024"),
        ] {
            let said = text.parse::<AsPathRegex>().unwrap_err().to_string();
            assert!(said.contains(want), "{said:?} lacks {want:?}");
        }
    }
}
