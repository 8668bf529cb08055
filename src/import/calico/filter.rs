//! From a `BGPFilter` to rules of ours.

use serde_json::{Map, Value, json};

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
    let known = [
        "cidr",
        "matchOperator",
        "action",
        "prefixLength",
        "source",
        "peerType",
        "interface",
        "asPathPrefix",
        "communities",
        "operations",
    ];
    for (field, value) in typed.as_object().into_iter().flatten() {
        if !known.contains(&&**field) && super::says(value) {
            return Err((format!(".{field}"), "brindle's filters do not look at this"));
        }
    }
    let action = match typed["action"].as_str() {
        Some("Accept") => "accept",
        Some("Reject") => "reject",
        _ => return Err((".action".to_owned(), "is neither Accept nor Reject")),
    };
    let mut rule = Rule { action, ..prefixes(typed, bits)? };
    match typed["source"].as_str().filter(|text| !text.is_empty()) {
        None => {}
        Some("RemotePeers") => rule.sources = &["mesh", "peer"],
        Some(_) => return Err((".source".to_owned(), "is not RemotePeers")),
    }
    match typed["peerType"].as_str().filter(|text| !text.is_empty()) {
        Some(kind @ ("eBGP" | "iBGP")) => rule.peer_type = Some(kind.to_owned()),
        None => {}
        Some(_) => return Err((".peerType".to_owned(), "is neither eBGP nor iBGP")),
    }
    if let Some(interface) = typed["interface"].as_str().filter(|text| !text.is_empty()) {
        rule.more.insert("interface", interface.into());
    }
    let list = |value: &Value| value.as_array().filter(|list| !list.is_empty()).cloned();
    if let Some(path) = list(&typed["asPathPrefix"]) {
        rule.more.insert("asPath", json!({ "prefix": path }));
    }
    if let Some(values) = list(&typed["communities"]["values"]) {
        if values.len() > 1 {
            let reason = "names more than one, of which it is not said whether one is enough";
            return Err((".communities.values".to_owned(), reason));
        }
        rule.more.insert("communities", json!({ "any": values }));
    }
    let set = operations(typed)?;
    if !set.is_empty() && action == "accept" {
        rule.more.insert("set", Value::Object(set));
    }
    Ok(rule)
}

/// What a rule says of the prefix alone.
fn prefixes(typed: &Value, bits: u8) -> Result<Rule, (String, &'static str)> {
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
    let (low, high) = (bound("min").unwrap_or(0), bound("max").unwrap_or(bits));
    let operator = typed["matchOperator"].as_str().unwrap_or("In");
    let (operator, low, high) = match (cidr, operator) {
        (Some(_), "Equal") => (None, own, own),
        (None, _) => (None, low, high),
        (Some(_), "In") => (None, own.max(low), high),
        (Some(_), "NotIn") => (Some("NotIn"), low, high),
        (Some(_), "NotEqual") => (Some("NotEqual"), low, high),
        (Some(_), _) => {
            return Err((".matchOperator".to_owned(), "is none of Equal, NotEqual, In, NotIn"));
        }
    };
    if low > high || high > bits {
        return Err((".prefixLength".to_owned(), "holds for no prefix"));
    }
    let lengths = if low == high { low.to_string() } else { format!("{low}-{high}") };
    Ok(Rule {
        cidr: Some(cidr.unwrap_or(everything).to_owned()),
        // A prefix of the other family is outside, too, and not what the rule is about.
        family: operator.map(|_| if bits == 32 { "ipv4" } else { "ipv6" }),
        match_operator: operator,
        prefix_lengths: Some(lengths),
        ..Rule::default()
    })
}

/// What a rule changes, by the keys of our `set`.
fn operations(typed: &Value) -> Result<Map<String, Value>, (String, &'static str)> {
    let mut set = Map::new();
    let mut communities = Vec::new();
    for (index, one) in typed["operations"].as_array().into_iter().flatten().enumerate() {
        let bad = |what: &str, reason| Err((format!(".operations[{index}]{what}"), reason));
        if let Some(value) = one["addCommunity"]["value"].as_str() {
            communities.push(Value::from(value));
        } else if let Some(path) = one["prependASPath"]["prefix"].as_array() {
            let Some(first) = path.first().filter(|first| path.iter().all(|asn| asn == *first))
            else {
                return bad(".prependASPath", "prepends different ASes, brindle's filters one");
            };
            if set.contains_key("prepend") {
                return bad(".prependASPath", "prepends a second time");
            }
            let prepend = json!({ "asNumber": first, "times": path.len() });
            set.insert("prepend".to_owned(), prepend);
        } else if let Some(priority) = one["setPriority"]["value"].as_u64() {
            // As Calico's speakers tell each other.
            set.insert("localPref".to_owned(), 2_147_483_647_u64.saturating_sub(priority).into());
        } else {
            return bad("", "brindle's filters cannot change this");
        }
    }
    if !communities.is_empty() {
        set.insert("addCommunities".to_owned(), communities.into());
    }
    Ok(set)
}
