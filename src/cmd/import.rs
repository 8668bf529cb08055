//! `brindle import`: what another network had as a configuration of ours.

use std::path::PathBuf;

use anyhow::{Context, bail};
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use serde_json::Value;

use super::{Exit, complain, note};
use crate::cluster::kubernetes::client::{ClientSettings, connect};
use crate::import::{self, Imported};
use crate::objects::read::{documents as documents_of, texts};

/// Print a configuration and policies made from another network's objects
///
/// The configuration and the policies go to the standard output as YAML, what is left to do
/// and what has no equivalent, each with the reason, to the standard error output. Nothing is
/// changed anywhere. Exit code 1: something has no equivalent.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which network the objects are of
    #[arg(value_enum)]
    from: From,
    /// Read objects from these files, folders or - for the standard input, not from the API
    /// server; may be repeated
    #[arg(short, long = "file", value_name = "PATH")]
    files: Vec<PathBuf>,
    /// The node that the configuration is for; without one, what is the same for all
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// What to print
    #[arg(long, value_enum, default_value = "all")]
    only: Only,
    /// Print nothing but what is left to do and what has no equivalent
    #[arg(long)]
    dry_run: bool,
    /// The kubeconfig file
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum From {
    Calico,
    KubeRouter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Only {
    /// Configuration and policies
    All,
    /// The configuration
    Config,
    /// The policies
    Policies,
}

/// Does it.
pub fn run(args: &Args) -> Exit {
    let objects = if args.files.is_empty() { ask(args) } else { read(&args.files) };
    let objects = match objects {
        Ok(objects) => objects,
        Err(error) => {
            complain(format_args!("{error:#}"));
            return if args.files.is_empty() { Exit::Unreachable } else { Exit::Usage };
        }
    };
    let node = args.node.as_deref();
    let imported = match args.from {
        From::Calico => import::calico::import(&objects, node),
        From::KubeRouter => import::kube_router::import(&objects, node),
    };
    if !args.dry_run {
        match documents(&imported, args.only) {
            Ok(text) => print!("{text}"),
            Err(error) => {
                complain(format_args!("{error:#}"));
                return Exit::Bad;
            }
        }
    }
    for step in &imported.to_do {
        note(format_args!("to do: {step}"));
    }
    for refusal in &imported.refused {
        complain(format_args!("no equivalent: {refusal}"));
    }
    if imported.refused.is_empty() { Exit::Fine } else { Exit::Bad }
}

/// What is printed, read once more as the agent would.
fn documents(imported: &Imported, only: Only) -> anyhow::Result<String> {
    let mut documents = Vec::new();
    if only != Only::Policies {
        let text = serde_saphyr::to_string(&imported.config).context("the configuration")?;
        if let Err(errors) = brindle_config::Config::from_yaml("imported", &text) {
            bail!("what was imported is no configuration:\n{errors}\n{text}");
        }
        documents.push(text);
    }
    if only != Only::Config {
        for policy in &imported.policies {
            documents.push(serde_saphyr::to_string(policy).context("a policy")?);
        }
    }
    Ok(documents.join("---\n"))
}

/// All objects of files.
fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Value>> {
    let mut objects = Vec::new();
    for text in texts(paths, false).map_err(anyhow::Error::msg)? {
        let found = documents_of(&text).map_err(|mistake| anyhow::anyhow!("{mistake}"))?;
        objects.extend(found.into_iter().map(|(_, object)| object));
    }
    Ok(objects)
}

/// All objects of the API server that matter.
fn ask(args: &Args) -> anyhow::Result<Vec<Value>> {
    let settings =
        ClientSettings { kubeconfig: args.kubeconfig.clone(), context: args.context.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = connect(&settings).await?;
        let mut objects = list(&client, "", "v1", "Node", "nodes").await?;
        match args.from {
            From::KubeRouter => {
                objects.extend(list(&client, "apps", "v1", "DaemonSet", "daemonsets").await?);
            }
            From::Calico => {
                for (kind, plural) in import::calico::RESOURCES {
                    let found = list(&client, "projectcalico.org", "v3", kind, plural).await?;
                    if found.is_empty() {
                        let group = "crd.projectcalico.org";
                        objects.extend(list(&client, group, "v1", kind, plural).await?);
                    } else {
                        objects.extend(found);
                    }
                }
            }
        }
        Ok(objects)
    })
}

/// All objects of a kind; none if it is not served.
async fn list(
    client: &kube::Client,
    group: &str,
    version: &str,
    kind: &str,
    plural: &str,
) -> anyhow::Result<Vec<Value>> {
    let api_version =
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let resource = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.clone(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let found = match api.list(&ListParams::default()).await {
        Ok(found) => found.items,
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("list {plural}.{group}")),
    };
    found
        .into_iter()
        .map(|object| {
            let mut value = serde_json::to_value(object)?;
            // Items of a list do not say what they are.
            value["apiVersion"] = api_version.clone().into();
            value["kind"] = kind.into();
            Ok(value)
        })
        .collect()
}
