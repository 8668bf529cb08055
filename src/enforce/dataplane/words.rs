//! The words of a rule as `iptables -S` and `iptables-save` print it.

use brindle_policy::names::CHAIN_MARK;

/// The words, without the quotes that hold some together.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut is_quoted = false;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            '\\' if is_quoted => word.get_or_insert_default().extend(characters.next()),
            ' ' if !is_quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

/// The chain of ours that a rule goes to, if it does.
pub(super) fn our_target(line: &str) -> Option<String> {
    let words = words(line);
    let mut pairs = words.windows(2);
    pairs
        .find(|pair| matches!(pair[0].as_str(), "-j" | "-g") && pair[1].starts_with(CHAIN_MARK))
        .map(|pair| pair[1].clone())
}

/// A rule as `iptables-save` prints it: its chain, and the rest of the line, without counters.
pub(super) fn rule_of(line: &str) -> Option<(&str, &str)> {
    let rest = match line.strip_prefix('[') {
        Some(counted) => counted.split_once("] ")?.1,
        None => line,
    };
    let rest = rest.strip_prefix("-A ")?;
    Some(rest.split_once(' ').unwrap_or((rest, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_cannot_pass_for_a_jump_of_ours() {
        for (line, want) in [
            (
                r#"-A FORWARD -m comment --comment "brindle:hook" -j BRN-FORWARD"#,
                Some("BRN-FORWARD"),
            ),
            (r#"-A FORWARD -m comment --comment "a -j BRN-X b" -j ACCEPT"#, None),
            (r#"-A FORWARD -m comment --comment "a \" -j BRN-X" -j ACCEPT"#, None),
            ("-A BRN-TO -s 10.0.0.1/32 -g BRN-I-ABC", Some("BRN-I-ABC")),
            ("-A FORWARD -j BRNO", None),
        ] {
            assert_eq!(our_target(line).as_deref(), want, "{line}");
        }
    }

    #[test]
    fn a_rule_is_found_with_and_without_counters() {
        for line in ["[1:60] -A FORWARD -j ACCEPT", "-A FORWARD -j ACCEPT"] {
            assert_eq!(rule_of(line), Some(("FORWARD", "-j ACCEPT")), "{line}");
        }
        assert_eq!(rule_of("-A FORWARD"), Some(("FORWARD", "")));
        assert_eq!(rule_of(":FORWARD ACCEPT [0:0]"), None);
    }
}
