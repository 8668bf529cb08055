//! `brindle lab apply|delete|label`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cmd::Exit;
use crate::lab::apply;
use crate::lab::objects::{self, Key};
use crate::lab::state::Lab;

/// How long the agents may take to let new pods be connected.
const CONNECTED_WITHIN: Duration = Duration::from_secs(30);

/// Arguments of `brindle lab delete`.
#[derive(Debug, clap::Args)]
pub(super) struct Delete {
    /// Delete what these files or folders name
    #[arg(short, long = "file", value_name = "PATH", conflicts_with_all = ["kind", "object"])]
    file: Vec<PathBuf>,
    /// pod, namespace, networkpolicy or another kind
    #[arg(required_unless_present = "file", requires = "object")]
    kind: Option<String>,
    /// Its name; NAMESPACE/NAME outside of the namespace default
    object: Option<String>,
}

/// Arguments of `brindle lab label`.
#[derive(Debug, clap::Args)]
pub(super) struct Label {
    /// pod, namespace or another kind
    kind: String,
    /// Its name; NAMESPACE/NAME outside of the namespace default
    object: String,
    /// KEY=VALUE sets a label, KEY- takes it away
    #[arg(required = true, value_name = "KEY=VALUE|KEY-")]
    labels: Vec<String>,
}

/// Applies everything that `paths` hold: namespaces, then pods, then the rest.
pub(super) fn run_apply(lab: &mut Lab, paths: &[PathBuf]) -> anyhow::Result<Exit> {
    let mut all = Vec::new();
    for path in paths {
        all.extend(objects::read(path)?);
    }
    apply_all(lab, all, |key, done| println!("{key} {}", done.as_str()))?;
    apply::connect_pods(lab, CONNECTED_WITHIN)?;
    Ok(Exit::Fine)
}

/// The same for objects; tells what came of each.
pub(super) fn apply_all(
    lab: &mut Lab,
    mut all: Vec<Value>,
    tell: impl Fn(&Key, apply::Done),
) -> anyhow::Result<()> {
    // stable: within a kind as they were given
    all.sort_by_key(|object| match object["kind"].as_str() {
        Some("Namespace") => 0,
        Some("Pod") => 1,
        _ => 2,
    });
    for object in all {
        let (key, done) = apply::apply(lab, object)?;
        tell(&key, done);
    }
    Ok(())
}

/// Deletes objects.
pub(super) fn run_delete(lab: &mut Lab, what: &Delete) -> anyhow::Result<Exit> {
    let mut keys = Vec::new();
    if let (Some(kind), Some(object)) = (&what.kind, &what.object) {
        keys.push(find(lab, kind, object)?);
    }
    for path in &what.file {
        for object in objects::read(path)? {
            keys.push(Key::of(&object)?);
        }
    }
    // what was applied last goes first
    for key in keys.iter().rev() {
        let done = apply::delete(lab, key)?;
        println!("{key} {}", done.as_str());
    }
    Ok(Exit::Fine)
}

/// Changes labels of an object.
pub(super) fn run_label(lab: &Lab, what: &Label) -> anyhow::Result<Exit> {
    let labels = what.labels.iter().map(|text| read_label(text)).collect::<Result<_, _>>()?;
    let key = find(lab, &what.kind, &what.object)?;
    let done = apply::label(lab, &key, &labels)?;
    let word = if done == apply::Done::Unchanged { "not labeled" } else { "labeled" };
    println!("{key} {word}");
    Ok(Exit::Fine)
}

fn read_label(text: &str) -> anyhow::Result<(String, Option<String>)> {
    match (text.split_once('='), text.strip_suffix('-')) {
        (Some((key, value)), _) if !key.is_empty() => Ok((key.to_owned(), Some(value.to_owned()))),
        (None, Some(key)) if !key.is_empty() => Ok((key.to_owned(), None)),
        _ => bail!("\"{text}\" is no label; accepted are KEY=VALUE and KEY-"),
    }
}

/// The object that `kind` and `name` mean.
fn find(lab: &Lab, kind: &str, name: &str) -> anyhow::Result<Key> {
    let kind = match kind.to_lowercase().as_str() {
        "po" | "pods" => "pod".to_owned(),
        "ns" | "namespaces" => "namespace".to_owned(),
        "netpol" | "networkpolicies" => "networkpolicy".to_owned(),
        other => other.to_owned(),
    };
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    let keys = apply::keys(lab)?;
    let fits = |key: &&Key| {
        key.kind.to_lowercase() == kind
            && key.name == name
            && key.namespace.as_deref().is_none_or(|own| own == namespace)
    };
    keys.iter().find(fits).cloned().with_context(|| {
        let same = keys.iter().filter(|key| key.kind.to_lowercase() == kind);
        let names: Vec<_> = same.map(ToString::to_string).collect();
        let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        format!("no {kind} {namespace}/{name} in this lab; there is: {there}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_set_and_taken_away() {
        for (text, want) in [
            ("a=b", Some(("a", Some("b")))),
            ("a=", Some(("a", Some("")))),
            ("a-", Some(("a", None))),
            ("a=b-", Some(("a", Some("b-")))),
            ("a", None),
            ("=b", None),
            ("-", None),
        ] {
            let got = read_label(text).ok();
            let want = want.map(|(k, v): (&str, Option<&str>)| (k.to_owned(), v.map(Into::into)));
            assert_eq!(got, want, "{text:?}");
        }
    }
}
