//! `brindle apply`, `create`, `replace`, `delete`, `get`, `label` and `validate`: policies and
//! their like, as users of calicoctl handle them.

use std::path::PathBuf;
use std::time::Duration;

use brindle_config::{Config, Source};
use serde_json::Value;

use super::ask::print;
use super::{Exit, complain, note};
use crate::cluster::kubernetes::client::{self, ClientSettings};
use crate::objects::deeds::{self, Label, Verb};
use crate::objects::read::{self, DEFAULT_NAMESPACE};
use crate::objects::show::{self, Format};
use crate::objects::store::{Folder, Server, Store, Trouble, Why};
use crate::objects::{Id, Mistake, Object, Place, check, default_as_stored, words};

/// Where objects are kept.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Where objects are kept")]
pub struct Kept {
    /// A kubeconfig; without it KUBECONFIG, the pod's service account or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; without it the current one
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
    /// Not an API server, but this folder of manifests
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kubeconfig", "context", "config"])]
    folder: Option<PathBuf>,
    /// Where this configuration of an agent has its objects from
    #[arg(short, long, value_name = "PATH", conflicts_with_all = ["kubeconfig", "context"])]
    config: Option<PathBuf>,
    /// Taken and ignored, as calicoctl's scripts have it
    #[arg(long, hide = true)]
    allow_version_mismatch: bool,
}

/// What manifests are read.
#[derive(Debug, clap::Args)]
pub struct Files {
    /// A file, a folder with files, or - for standard input; may be repeated
    #[arg(short, long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Folders inside the folders too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// No objects are no mistake
    #[arg(long)]
    skip_empty: bool,
}

/// Arguments of `brindle apply` and `brindle replace`.
#[derive(Debug, clap::Args)]
pub struct WriteArgs {
    #[command(flatten)]
    files: Files,
    /// The namespace of objects that name none
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    #[command(flatten)]
    kept: Kept,
}

/// Arguments of `brindle create`.
#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    #[command(flatten)]
    write: WriteArgs,
    /// What is there already is left as it is, and counts as created
    #[arg(long)]
    skip_exists: bool,
}

/// Arguments of `brindle delete`.
#[derive(Debug, clap::Args)]
pub struct DeleteArgs {
    /// The kind: globalnetworkpolicy, gnp, networkpolicy, np, hostendpoint, hep, ...
    #[arg(value_name = "KIND", required_unless_present = "files", conflicts_with = "files")]
    kind: Option<String>,
    /// The names
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    write: WriteArgs,
    /// What is not there counts as deleted
    #[arg(short, long)]
    skip_not_exists: bool,
}

/// Arguments of `brindle get`.
#[derive(Debug, clap::Args)]
pub struct GetArgs {
    /// The kind: globalnetworkpolicy, gnp, networkpolicy, np, hostendpoint, hep, ...
    #[arg(value_name = "KIND", required_unless_present = "files", conflicts_with = "files")]
    kind: Option<String>,
    /// The names; without any, all
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// How to show them: ps (or table), wide, custom-columns=NAME,..., yaml, json, name
    #[arg(short, long, value_name = "FORMAT", default_value = "ps")]
    output: Format,
    /// Those of all namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "names", "files"])]
    all_namespaces: bool,
    /// Without what belongs to this cluster alone: uid, resourceVersion, creationTimestamp
    #[arg(long)]
    export: bool,
    #[command(flatten)]
    write: WriteArgs,
}

/// Arguments of `brindle label`.
#[derive(Debug, clap::Args)]
pub struct LabelArgs {
    /// The kind: hostendpoint, hep, globalnetworkset, ...
    #[arg(value_name = "KIND")]
    kind: String,
    /// The name
    #[arg(value_name = "NAME")]
    name: String,
    /// KEY=VALUE sets a label, KEY- removes one
    #[arg(value_name = "LABEL", required = true)]
    labels: Vec<String>,
    /// Change a label that is there already
    #[arg(long, conflicts_with = "remove")]
    overwrite: bool,
    /// Remove the labels that are named
    #[arg(long)]
    remove: bool,
    /// The namespace of the object
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    #[command(flatten)]
    kept: Kept,
}

/// Arguments of `brindle validate`.
#[derive(Debug, clap::Args)]
pub struct ValidateArgs {
    #[command(flatten)]
    files: Files,
    /// Taken and ignored, as calicoctl's scripts have it
    #[arg(long, hide = true)]
    allow_version_mismatch: bool,
}

impl Trouble {
    /// How a command ends that met it.
    fn exit(&self) -> Exit {
        match self.why {
            Why::Exists | Why::Missing | Why::Changed | Why::Failed => Exit::Bad,
            Why::Invalid => Exit::Usage,
            Why::Unreachable => Exit::Unreachable,
            Why::Forbidden => Exit::NotPermitted,
        }
    }
}

/// `brindle apply`.
pub fn apply(args: &WriteArgs) -> Exit {
    write(Verb::Apply, args, false)
}

/// `brindle replace`.
pub fn replace(args: &WriteArgs) -> Exit {
    write(Verb::Replace, args, false)
}

/// `brindle create`.
pub fn create(args: &CreateArgs) -> Exit {
    write(Verb::Create, &args.write, args.skip_exists)
}

fn write(verb: Verb, args: &WriteArgs, skips: bool) -> Exit {
    ended(|| {
        let mut objects = args.files.objects(args.namespace.as_deref(), are_right)?;
        for (object, _) in &mut objects {
            default_as_stored(object);
        }
        let objects: Vec<Object> = objects.into_iter().map(|(object, _)| object).collect();
        Ok(carry_out(&mut *args.kept.open()?, verb, &objects, skips))
    })
}

/// `brindle delete`.
pub fn delete(args: &DeleteArgs) -> Exit {
    ended(|| {
        let WriteArgs { files, namespace, kept } = &args.write;
        let objects: Vec<Object> = match &args.kind {
            None => objects_of(files.objects(namespace.as_deref(), |_| true)?),
            Some(kind) => {
                if args.names.is_empty() {
                    complain("no name: which one is to be deleted has to be said");
                    return Err(Exit::Usage);
                }
                let ids = ids(kind, &args.names, namespace.as_deref())?.into_iter();
                ids.map(|id| Object { id, value: Value::Null }).collect()
            }
        };
        Ok(carry_out(&mut *kept.open()?, Verb::Delete, &objects, args.skip_not_exists))
    })
}

/// `brindle get`.
pub fn get(args: &GetArgs) -> Exit {
    ended(|| {
        let WriteArgs { files, namespace, kept } = &args.write;
        let asked: Vec<Id> = match &args.kind {
            None => {
                let objects = objects_of(files.objects(namespace.as_deref(), |_| true)?);
                objects.into_iter().map(|object| object.id).collect()
            }
            Some(kind) => ids(kind, &args.names, namespace.as_deref())?,
        };
        let mut exit = Exit::Fine;
        let mut found = Vec::new();
        let mut store = kept.open()?;
        match &args.kind {
            Some(kind) if args.names.is_empty() => {
                let kind = kind_of(kind)?;
                let namespace = namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
                let one = (kind.is_namespaced() && !args.all_namespaces).then_some(namespace);
                for value in store.list(kind, one).map_err(|trouble| failed(&trouble))? {
                    found.extend(named(kind, value));
                }
            }
            _ => {
                for id in &asked {
                    match store.get(id).map_err(|trouble| failed(&trouble))? {
                        Some(value) => found.push(Object { id: id.clone(), value }),
                        None => exit = failed(&Trouble::missing(id)),
                    }
                }
            }
        }
        if args.export && !asked.is_empty() {
            found.iter_mut().for_each(without_cluster);
        }
        let is_one = asked.len() == 1;
        if exit != Exit::Fine && found.is_empty() {
            return Ok(exit);
        }
        // What -f names may be of several namespaces.
        let has_namespaces = args.all_namespaces || args.kind.is_none();
        match show::render(&found, &args.output, is_one, has_namespaces) {
            Ok(text) => match print(text.as_bytes()) {
                Exit::Fine => Ok(exit),
                lost => Ok(lost),
            },
            Err(error) => {
                complain(error);
                Err(Exit::Usage)
            }
        }
    })
}

/// `brindle label`.
pub fn label(args: &LabelArgs) -> Exit {
    ended(|| {
        let kind = kind_of(&args.kind)?;
        let id = ids(&args.kind, std::slice::from_ref(&args.name), args.namespace.as_deref())?;
        let id = id.into_iter().next().expect("one name, one object");
        let labels = args.labels.iter().map(|text| Label::read(text, args.remove));
        let labels: Vec<Label> = labels.collect::<Result<_, String>>().map_err(usage)?;
        let is_right = |object: &Object| {
            let wrong = check::check(object)
                .into_iter()
                .find(|found| found.is_refused && found.field.starts_with("metadata.labels"));
            match wrong {
                None => Ok(()),
                Some(found) => Err(Trouble {
                    why: Why::Invalid,
                    message: format!("{}: {}", found.field, found.message),
                }),
            }
        };
        let word = match kind.plural() == args.kind {
            true => kind.plural(),
            false => &args.kind,
        };
        let mut store = args.kept.open()?;
        let said = deeds::label(&mut *store, (&id, word), &labels, args.overwrite, is_right);
        let said = said.map_err(|trouble| failed(&trouble))?;
        Ok(print(format!("{}\n", said.join("\n")).as_bytes()))
    })
}

/// `brindle validate`.
pub fn validate(args: &ValidateArgs) -> Exit {
    ended(|| {
        let objects = args.files.objects(None, are_right)?;
        let kinds: Vec<_> = objects.iter().map(|(object, _)| object.id.kind).collect();
        let kind = match kinds.first() {
            Some(first) if kinds.iter().all(|kind| kind == first) => format!("'{}' ", first.name()),
            _ => String::new(),
        };
        let said = format!("Successfully validated {} {kind}resource(s)\n", objects.len());
        Ok(print(said.as_bytes()))
    })
}

/// The exit code, wherever it came from.
fn ended(deed: impl FnOnce() -> Result<Exit, Exit>) -> Exit {
    deed().unwrap_or_else(|exit| exit)
}

fn carry_out(store: &mut dyn Store, verb: Verb, objects: &[Object], skips: bool) -> Exit {
    if objects.is_empty() {
        note("nothing to do: there are no objects");
        return Exit::Fine;
    }
    let outcome = deeds::carry_out(store, verb, objects, skips);
    let lines = outcome.lines();
    match outcome.trouble {
        None => print(format!("{}\n", lines.join("\n")).as_bytes()),
        Some(trouble) => {
            lines.iter().for_each(note);
            trouble.exit()
        }
    }
}

fn failed(trouble: &Trouble) -> Exit {
    complain(trouble);
    trouble.exit()
}

fn usage(what: impl std::fmt::Display) -> Exit {
    complain(what);
    Exit::Usage
}

fn kind_of(word: &str) -> Result<crate::cluster::kind::Kind, Exit> {
    words::kind(word).map_err(usage)
}

/// Which objects these names mean. kubectl's KIND/NAME is no name here.
fn ids(kind: &str, names: &[String], namespace: Option<&str>) -> Result<Vec<Id>, Exit> {
    let kind = kind_of(kind)?;
    let mut ids = Vec::new();
    for name in names {
        if !brindle_config::is_dns_subdomain(name) {
            return Err(usage(format_args!(
                "{name:?} is no name; accepted are a-z, 0-9, '-' and '.'"
            )));
        }
        let namespace = namespace.unwrap_or(DEFAULT_NAMESPACE);
        let namespace = kind.is_namespaced().then(|| namespace.to_owned());
        ids.push(Id { kind, namespace, name: name.clone() });
    }
    Ok(ids)
}

fn objects_of(found: Vec<(Object, Place)>) -> Vec<Object> {
    found.into_iter().map(|(object, _)| object).collect()
}

/// An object of a list, by its name; one without is none.
fn named(kind: crate::cluster::kind::Kind, value: Value) -> Option<Object> {
    let text = |key: &str| value["metadata"][key].as_str().map(str::to_owned);
    let (name, namespace) = (text("name")?, text("namespace").filter(|_| kind.is_namespaced()));
    Some(Object { id: Id { kind, namespace, name }, value })
}

fn without_cluster(object: &mut Object) {
    if let Some(Value::Object(metadata)) = object.value.get_mut("metadata") {
        for field in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
            metadata.remove(field);
        }
    }
}

/// Says all that is wrong with the objects, and what is only worth knowing; whether nothing is
/// wrong.
fn are_right(objects: &[(Object, Place)]) -> bool {
    let mut is_refused = false;
    for (object, place) in objects {
        for found in check::check(object) {
            let mistake = Mistake {
                place: Some(place.clone()),
                object: Some(object.id.to_string()),
                field: format!("{}{}", place.within, found.field),
                message: found.message,
            };
            match found.is_refused {
                true => complain(mistake),
                false => note(format_args!("warning: {mistake}")),
            }
            is_refused |= found.is_refused;
        }
    }
    !is_refused
}

impl Files {
    /// The texts of the manifests.
    pub(super) fn texts(&self) -> Result<Vec<read::Text>, Exit> {
        if self.files.is_empty() {
            return Err(usage("no file: -f FILE, -f FOLDER or -f - has to say what to read"));
        }
        read::texts(&self.files, self.recursive).map_err(usage)
    }

    /// Says that there was nothing in them, unless that is fine.
    pub(super) fn nothing(&self) -> Result<(), Exit> {
        match self.skip_empty {
            true => Ok(()),
            false => Err(usage("no objects in the files (--skip-empty: that is no mistake)")),
        }
    }

    /// The objects in the manifests, and where they are. Says everything that is wrong; `judge`
    /// does so for objects that are some.
    fn objects(
        &self,
        namespace: Option<&str>,
        judge: impl Fn(&[(Object, Place)]) -> bool,
    ) -> Result<Vec<(Object, Place)>, Exit> {
        let mut objects = Vec::new();
        let mut is_refused = false;
        for text in self.texts()? {
            let documents = match read::documents(&text) {
                Ok(documents) => documents,
                Err(mistake) => {
                    is_refused = true;
                    complain(mistake);
                    continue;
                }
            };
            for (place, value) in documents {
                match read::object(&place, value, namespace) {
                    Ok(object) => objects.push((object, place)),
                    Err(mistake) => {
                        is_refused = true;
                        complain(mistake);
                    }
                }
            }
        }
        if !judge(&objects) || is_refused {
            return Err(Exit::Usage);
        }
        if objects.is_empty() {
            self.nothing()?;
        }
        Ok(objects)
    }
}

impl Kept {
    /// Who keeps the objects. Says why if there is nobody.
    fn open(&self) -> Result<Box<dyn Store>, Exit> {
        if let Some(folder) = &self.folder {
            return Ok(Box::new(Folder::open(folder).map_err(|trouble| failed(&trouble))?));
        }
        let mut settings =
            ClientSettings { kubeconfig: self.kubeconfig.clone(), context: self.context.clone() };
        if let Some(config) = &self.config {
            let loaded = Config::load(config).map_err(usage)?;
            match loaded.config.source {
                Some(Source::Files { path }) => {
                    return Ok(Box::new(Folder::open(&path).map_err(|trouble| failed(&trouble))?));
                }
                Some(Source::Kubernetes { kubeconfig, context, .. }) => {
                    settings = ClientSettings { kubeconfig, context };
                }
                None => {
                    let path = config.display();
                    return Err(usage(format_args!(
                        "{path}: source: is not set; there are no objects"
                    )));
                }
            }
        }
        Ok(Box::new(self.server(&settings)?))
    }

    /// The API server that the flags lead to.
    pub(super) fn connect(&self) -> Result<Server, Exit> {
        let Self { kubeconfig, context, .. } = self;
        self.server(&ClientSettings { kubeconfig: kubeconfig.clone(), context: context.clone() })
    }

    fn server(&self, settings: &ClientSettings) -> Result<Server, Exit> {
        /// Where calicoctl is told what keeps its objects.
        const DATASTORE: &str = "DATASTORE_TYPE";
        match std::env::var(DATASTORE).as_deref() {
            Ok("kubernetes" | "") | Err(_) => {}
            Ok(other) => {
                return Err(usage(format_args!(
                    "{DATASTORE} is {other:?}; accepted is kubernetes: objects are kept by an API \
                     server, or in a --folder"
                )));
            }
        }
        let limit: Duration = client::REQUEST;
        Server::connect(settings, limit).map_err(|trouble| failed(&trouble))
    }
}
