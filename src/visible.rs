//! Text of others, made fit to be shown: nothing in it steers a terminal or breaks a line.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a terminal might do something else than show the character: control characters,
/// and those that turn the direction of writing or are not seen at all.
fn is_treacherous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

/// The text with everything escaped that is not to be let loose on a terminal or a table.
pub fn visible(text: &str) -> Cow<'_, str> {
    escape(text, is_treacherous, |c, out| out.extend(c.escape_default()))
}

/// The same for text of more than one line.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| c != '\n' && is_treacherous(c), |c, out| out.extend(c.escape_default()))
}

/// The same for a line that we coloured: our own escape sequences stay.
pub fn visible_colored(line: &str) -> Cow<'_, str> {
    escape(line, |c| c != '\x1b' && is_treacherous(c), |c, out| out.extend(c.escape_default()))
}

/// The same for JSON, where such characters stand only inside of strings: the escape means the
/// same character.
pub fn visible_json(json: &str) -> Cow<'_, str> {
    let escaped = |c: char, out: &mut String| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            write!(out, "\\u{unit:04x}").expect("a String takes everything");
        }
    };
    escape(json, |c| c != '\n' && is_treacherous(c), escaped)
}

fn escape(
    text: &str,
    is_bad: impl Fn(char) -> bool,
    escaped: impl Fn(char, &mut String),
) -> Cow<'_, str> {
    if !text.contains(&is_bad) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_bad(c) {
            escaped(c, &mut out);
        } else {
            out.push(c);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_steer_a_terminal_is_escaped() {
        for (text, want) in [
            ("tor-a", "tor-a"),
            ("Zürich", "Zürich"),
            ("a\x1b[2Jb", "a\\u{1b}[2Jb"),
            ("a\nb\tc", "a\\nb\\tc"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("x\u{202e}y", "x\\u{202e}y"),
            ("\u{200b}", "\\u{200b}"),
        ] {
            assert_eq!(visible(text), want, "{text:?}");
        }
    }

    #[test]
    fn escaped_json_means_the_same() {
        for text in ["\u{9b}2J", "\u{202e}abc", "\u{7f}", "\u{E0041}", "plain"] {
            let json = serde_json::to_string(text).unwrap();
            let shown = visible_json(&json);
            assert!(!shown.contains(is_treacherous), "{text:?} as {shown}");
            assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }
    }
}
