//! From files to a configuration.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Errors, Problem};
use crate::meaning::{Config, KeyFile};
use crate::section::Report;
use crate::yaml::{self, MAX_FILE_BYTES};
use crate::{check, merge};

/// A configuration as it was found in its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What the files say.
    pub config: Config,
    /// The files, in the order in which they were merged: the main file, then those of
    /// `conf.d` by name.
    pub files: Vec<PathBuf>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<Problem>,
}

impl Loaded {
    /// Reads the files with keys that the configuration names, and adds warnings about those
    /// that anybody may read.
    ///
    /// # Errors
    /// Every one that is missing, empty or too long, at the place that names it.
    pub fn check_keys(&mut self) -> Result<(), Errors> {
        let files = || self.config.bgp.key_files();
        let problems = files().filter_map(KeyFile::check).collect();
        let doubts: Vec<Problem> = files().filter_map(KeyFile::doubt).collect();
        self.warnings.extend(doubts);
        Errors::of(problems).map_or(Ok(()), Err)
    }
}

impl Config {
    /// Reads `main`, lays every `*.yaml` of the folder `conf.d` beside it on top in the order
    /// of their names, and checks the whole. Fails with everything that is wrong, a missing
    /// `main` included; without a `conf.d` there is nothing to lay on top.
    pub fn load(main: &Path) -> Result<Loaded, Errors> {
        let mut files = vec![main.to_owned()];
        files.extend(drop_ins(main)?);
        let mut problems = Vec::new();
        let mut texts: Vec<(Arc<str>, String)> = Vec::new();
        for file in &files {
            let name = file.display().to_string();
            match read(file) {
                Ok(text) => texts.push((name.into(), text)),
                Err(message) => {
                    problems.extend_from_slice(Errors::whole_file(&name, message).problems());
                }
            }
        }
        let (config, warnings) = from_texts(&texts, problems)?;
        Ok(Loaded { config, files, warnings })
    }

    /// What `text` alone says; `file_name` is for the errors. An empty text is valid: every
    /// key has a default.
    pub fn from_yaml(file_name: &str, text: &str) -> Result<Config, Errors> {
        Config::from_yaml_with_warnings(file_name, text).map(|(config, _)| config)
    }

    /// As [`Config::from_yaml`], with what is allowed but probably not meant.
    pub fn from_yaml_with_warnings(
        file_name: &str,
        text: &str,
    ) -> Result<(Config, Vec<Problem>), Errors> {
        from_texts(&[(file_name.into(), text)], Vec::new())
    }
}

/// The configuration in `texts`, pairs of file name and content, later ones laid on earlier
/// ones. `problems` are those found before.
fn from_texts<T: AsRef<str>>(
    texts: &[(Arc<str>, T)],
    mut problems: Vec<Problem>,
) -> Result<(Config, Vec<Problem>), Errors> {
    let unread = problems.len();
    let mut whole = yaml::nothing();
    for (name, text) in texts {
        match yaml::read(name, text.as_ref()) {
            Ok(tree) => merge::lay(&mut whole, tree),
            Err(problem) => problems.push(problem),
        }
    }
    // The files that could be read are checked also if others could not: one run names all.
    // What only misses the unread ones is not held against them.
    let complete = problems.len() == unread && unread == 0;
    let report = Report::default();
    let config = check::config(&whole, &report, complete);
    let (errors, mut warnings) = report.into_parts();
    problems.extend(errors);
    let order = |place: &crate::Place| {
        let file = texts.iter().position(|(name, _)| *name == place.file);
        (file, place.line, place.column)
    };
    problems.sort_by_key(|problem| order(&problem.place));
    warnings.sort_by_key(|problem| order(&problem.place));
    match (Errors::of(problems), config) {
        (Some(errors), _) => Err(errors),
        (None, config) => Ok((config, warnings)),
    }
}

/// The files of the folder `conf.d` beside `main`, by name; hidden ones and those that do not
/// end in `.yaml` are no drop-ins.
fn drop_ins(main: &Path) -> Result<Vec<PathBuf>, Errors> {
    let folder = main.with_file_name("conf.d");
    let failed = |error: io::Error| {
        Errors::whole_file(&folder.display().to_string(), format!("cannot be listed: {error}"))
    };
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension() == Some(OsStr::new("yaml")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The text of `file`, or why there is none.
fn read(file: &Path) -> Result<String, String> {
    let cannot = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    // A FIFO would block for ever when opened.
    let metadata = fs::metadata(file).map_err(cannot)?;
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    let mut bytes = Vec::new();
    let source = File::open(file).map_err(cannot)?;
    source.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(yaml::too_big(metadata.len()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes().get(..error.utf8_error().valid_up_to());
        let line = line.map_or(0, |good| good.iter().filter(|&&b| b == b'\n').count()) + 1;
        format!("line {line} is not UTF-8 text")
    })
}
