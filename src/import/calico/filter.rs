//! From a `BGPFilter` to rules of ours.

use serde_json::Value;

use super::super::draft::Rule;

/// The rules of `filter` for one direction (`import` or `export`), both families; the fields
/// that cannot be followed, with the reason, if there are any.
pub(super) fn rules(filter: &Value, direction: &str) -> Result<Vec<Rule>, Vec<(String, String)>> {
    let (mut rules, mut refused) = (Vec::new(), Vec::new());
    for (suffix, bits) in [("V4", 32), ("V6", 128)] {
        let list = format!("{direction}{suffix}");
        for (index, typed) in filter["spec"][&list].as_array().into_iter().flatten().enumerate() {
            match rule(typed, bits) {
                Ok(rule) => rules.push(rule),
                Err((field, reason)) => {
                    refused.push((format!("spec.{list}[{index}]{field}"), reason.to_owned()));
                }
            }
        }
    }
    if refused.is_empty() { Ok(rules) } else { Err(refused) }
}

fn rule(typed: &Value, bits: u8) -> Result<Rule, (String, &'static str)> {
    let known = ["cidr", "matchOperator", "action", "prefixLength"];
    for (field, value) in typed.as_object().into_iter().flatten() {
        if !known.contains(&&**field) && super::says(value) {
            return Err((
                format!(".{field}"),
                "brindle's filters look at prefixes and their lengths only, not at this",
            ));
        }
    }
    let action = match typed["action"].as_str() {
        Some("Accept") => "accept",
        Some("Reject") => "reject",
        _ => return Err((".action".to_owned(), "is neither Accept nor Reject")),
    };
    let everything = if bits == 32 { "0.0.0.0/0" } else { "::/0" };
    let cidr = typed["cidr"].as_str().filter(|text| !text.is_empty());
    let length =
        |cidr: &str| cidr.split_once('/').and_then(|(_, length)| length.parse::<u8>().ok());
    let own = match cidr {
        Some(text) => length(text).ok_or((".cidr".to_owned(), "is not a prefix"))?,
        None => 0,
    };
    let bound =
        |name: &str| typed["prefixLength"][name].as_u64().and_then(|n| u8::try_from(n).ok());
    let (low, high) = match (cidr, typed["matchOperator"].as_str().unwrap_or("In")) {
        (Some(_), "Equal") => (own, own),
        (_, "In") => (own.max(bound("min").unwrap_or(0)), bound("max").unwrap_or(bits)),
        (None, _) => (bound("min").unwrap_or(0), bound("max").unwrap_or(bits)),
        (Some(_), _) => {
            let reason =
                "brindle's filters have no negated match: write the opposite rules in front";
            return Err((".matchOperator".to_owned(), reason));
        }
    };
    if low > high || high > bits {
        return Err((".prefixLength".to_owned(), "holds for no prefix"));
    }
    let lengths = if low == high { low.to_string() } else { format!("{low}-{high}") };
    Ok(Rule {
        action,
        cidr: Some(cidr.unwrap_or(everything).to_owned()),
        prefix_lengths: Some(lengths),
    })
}
