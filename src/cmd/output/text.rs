//! Small pieces of text: counts, ages, lists and colours as tables have them.

use std::time::Duration;

use crate::control::view;

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
