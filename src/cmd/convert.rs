//! `brindle convert`: manifests of other APIs as `projectcalico.org/v3`.

use serde_json::Value;

use super::ask::print;
use super::objects::Files;
use super::{Exit, complain, note};
use crate::objects::convert::convert;
use crate::objects::{Mistake, Object, Place, check, read};

/// Arguments of `brindle convert`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    files: Files,
    /// How to print them
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Output::Yaml)]
    output: Output,
    /// Print what would be refused too
    #[arg(long)]
    ignore_validation: bool,
    /// Taken and ignored, as calicoctl's scripts have it
    #[arg(long, hide = true)]
    allow_version_mismatch: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Output {
    Yaml,
    Json,
}

/// Runs it.
pub fn run(args: &Args) -> Exit {
    match converted(args) {
        Ok(text) => print(text.as_bytes()),
        Err(exit) => exit,
    }
}

/// All objects, or none: half of what was there would be taken for the whole.
fn converted(args: &Args) -> Result<String, Exit> {
    let mut objects = Vec::new();
    let mut is_refused = false;
    let mut refuse = |mistake: Mistake| {
        complain(mistake);
        is_refused = true;
    };
    for text in args.files.texts()? {
        match read::documents(&text) {
            Err(mistake) => refuse(*mistake),
            Ok(documents) => {
                for (place, value) in documents {
                    match convert(&place, &value) {
                        Err(mistake) => refuse(*mistake),
                        Ok(value) => {
                            if !args.ignore_validation {
                                let mistakes = mistakes(&place, value.clone());
                                for (mistake, is_refused) in mistakes {
                                    match is_refused {
                                        true => refuse(mistake),
                                        false => note(format_args!("warning: {mistake}")),
                                    }
                                }
                            }
                            objects.push(value);
                        }
                    }
                }
            }
        }
    }
    if is_refused {
        return Err(Exit::Usage);
    }
    if objects.is_empty() {
        args.files.nothing()?;
    }
    let text = match (args.output, &objects[..]) {
        (Output::Yaml, objects) => {
            let texts = objects.iter().map(serde_yaml::to_string).collect::<Result<Vec<_>, _>>();
            texts.map(|texts| texts.join("---\n")).map_err(|error| error.to_string())
        }
        (Output::Json, [one]) => json(one),
        (Output::Json, all) => json(&Value::Array(all.to_vec())),
    };
    text.map_err(|error| {
        complain(error);
        Exit::Bad
    })
}

fn json(value: &Value) -> Result<String, String> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|error| error.to_string())
}

/// What is wrong with an object that came of it, and whether it is refused for that.
fn mistakes(place: &Place, value: Value) -> Vec<(Mistake, bool)> {
    let object: Object = match read::object(place, value, None) {
        Ok(object) => object,
        Err(mistake) => return vec![(*mistake, true)],
    };
    let found = check::check(&object).into_iter().map(|found| {
        let mistake = Mistake {
            place: Some(place.clone()),
            object: Some(object.id.to_string()),
            field: found.field,
            message: found.message,
        };
        (mistake, found.is_refused)
    });
    found.collect()
}
