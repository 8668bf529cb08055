//! `brindle crds`: prints or installs the definitions of Calico's kinds.

use serde_json::Value;

use super::ask::print;
use super::objects::Kept;
use super::{Exit, complain, note};
use crate::cluster::kind::CALICO;
use crate::objects::crds;
use crate::objects::store::{Server, why_unreachable};

/// Where an API server keeps definitions.
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Arguments of `brindle crds`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Install them, unless the cluster has some that are not ours
    #[arg(long)]
    install: bool,
    #[command(flatten)]
    kept: Kept,
}

/// Runs it.
pub fn run(args: &Args) -> Exit {
    let definitions: Vec<Value> = crds::kinds().filter_map(crds::definition).collect();
    if args.install {
        return install(&args.kept, &definitions).unwrap_or_else(|exit| exit);
    }
    let texts = definitions.iter().map(crds::manifest).collect::<Result<Vec<_>, _>>();
    match texts {
        Ok(texts) => print(texts.join("---\n").as_bytes()),
        Err(error) => {
            complain(error);
            Exit::Bad
        }
    }
}

fn install(kept: &Kept, definitions: &[Value]) -> Result<Exit, Exit> {
    let server = kept.connect()?;
    let ask = |method: &str, path: &str, body: Option<&Value>| {
        server.ask(method, path, body).map_err(|error| refused(method, &error))
    };
    let there = ask("GET", DEFINITIONS, None)?;
    let there: Vec<&Value> = there["items"].as_array().into_iter().flatten().collect();
    let name =
        |definition: &Value| definition["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let is_ours =
        |definition: &Value| definition["metadata"]["labels"][crds::MARK.0] == crds::MARK.1;
    let foreign: Vec<String> = there
        .iter()
        .filter(|one| !is_ours(one))
        .filter(|one| {
            one["spec"]["group"].as_str().is_some_and(|g| g.ends_with("projectcalico.org"))
        })
        .map(|one| name(one))
        .collect();
    if let Some(first) = foreign.first() {
        complain(format_args!(
            "this cluster has {} definitions of Calico that are not ours, {first} among them: they \
             are read as they are, and nothing is installed",
            foreign.len()
        ));
        return Err(Exit::Bad);
    }
    if is_served_by_others(&server, &there) {
        complain(format_args!(
            "this cluster serves {CALICO} without a definition: Calico's own API server does; it \
             is read as it is, and nothing is installed"
        ));
        return Err(Exit::Bad);
    }
    for definition in definitions {
        let name = name(definition);
        match there.iter().find(|one| one["metadata"]["name"] == *name) {
            None => {
                ask("POST", DEFINITIONS, Some(definition))?;
                note(format_args!("{name} installed"));
            }
            Some(one) if is_ours(one) => {
                let mut definition = definition.clone();
                definition["metadata"]["resourceVersion"] =
                    one["metadata"]["resourceVersion"].clone();
                ask("PUT", &format!("{DEFINITIONS}/{name}"), Some(&definition))?;
                note(format_args!("{name} replaced"));
            }
            Some(_) => note(format_args!("{name} is there and not ours: left as it is")),
        }
    }
    Ok(Exit::Fine)
}

/// Whether the API is there and no definition of it is.
fn is_served_by_others(server: &Server, there: &[&Value]) -> bool {
    let group = CALICO.split_once('/').map_or(CALICO, |(group, _)| group);
    let is_defined = there.iter().any(|one| one["spec"]["group"] == group);
    !is_defined && server.ask("GET", &format!("/apis/{CALICO}"), None).is_ok()
}

fn refused(method: &str, error: &kube::Error) -> Exit {
    let verb = match method {
        "GET" => "list",
        "PUT" => "update",
        _ => "create",
    };
    match error {
        kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
            complain(format_args!(
                "{}; a cluster's administrator may; see: kubectl auth can-i {verb} \
                 customresourcedefinitions.apiextensions.k8s.io",
                status.message
            ));
            Exit::NotPermitted
        }
        kube::Error::Api(status) => {
            complain(&status.message);
            Exit::Bad
        }
        error => {
            let why = why_unreachable(error);
            complain(format_args!("the API server cannot be reached: {why}"));
            Exit::Unreachable
        }
    }
}
