//! Small pieces of text: what is safe to show, counts and ages as tables have them.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

use crate::control::view;

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
pub(super) fn visible_lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| c != '\n' && is_treacherous(c), |c, out| out.extend(c.escape_default()))
}

/// The same for JSON, where such characters stand only inside of strings: the escape means the
/// same character.
pub(super) fn visible_json(json: &str) -> Cow<'_, str> {
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

/// A large number in four characters: `999`, `8.9k`, `12k`, `3.4M`.
pub(super) fn amount(number: u64) -> String {
    let mut units = ["k", "M", "G", "T", "P", "E"].into_iter();
    let (mut whole, mut rest, mut unit) = (number, 0, "");
    while whole >= 1000 {
        (rest, whole) = (whole % 1000 / 100, whole / 1000);
        unit = units.next().unwrap_or("");
    }
    if unit.is_empty() || whole >= 10 {
        format!("{whole}{unit}")
    } else {
        format!("{whole}.{rest}{unit}")
    }
}

/// An age: `3d4h`.
pub(super) fn age(seconds: u64) -> String {
    view::short_duration(Duration::from_secs(seconds))
}

/// The values with a comma between, or `-` for none.
pub(super) fn list<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    if texts.is_empty() { "-".to_owned() } else { texts.join(", ") }
}

/// The value, or `-` for none.
pub(super) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Whether something is good, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it should be.
    Good,
    /// On its way, or not in use on purpose.
    Middling,
    /// Not as it should be.
    Bad,
}

/// The text in the colour of its tone.
pub(super) fn paint(text: &str, tone: Tone, color: bool) -> String {
    let code = match tone {
        Tone::Good => 32,
        Tone::Middling => 33,
        Tone::Bad => 31,
    };
    if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
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

    #[test]
    fn amounts_take_four_characters() {
        for (number, want) in [
            (0, "0"),
            (999, "999"),
            (1000, "1.0k"),
            (8949, "8.9k"),
            (9999, "9.9k"),
            (12_345, "12k"),
            (999_999, "999k"),
            (3_450_000, "3.4M"),
            (u64::MAX, "18E"),
        ] {
            assert_eq!(amount(number), want, "{number}");
        }
    }

    #[test]
    fn ages_name_two_units() {
        for (seconds, want) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (90, "1m30s"),
            (600, "10m"),
            (3599, "59m"),
            (3600, "1h"),
            (13_200, "3h40m"),
            (86_400, "1d"),
            (273_600, "3d4h"),
        ] {
            assert_eq!(age(seconds), want, "{seconds}");
        }
    }
}
