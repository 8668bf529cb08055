//! The file that has the container runtime use our plug-in. It is written once pods can be
//! connected, and stays when we stop: without it the runtime would take the node for one
//! without a network.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use brindle_config::{ChainedPlugin, Config};
use serde_json::{Value, json};
use tracing::info;

use super::super::answer::Known;
use super::Area;

/// Its name: early among those of others, as the runtime takes the first.
const NAME: &str = "10-brindle.conflist";
/// How it is called while it is written: no name that a runtime reads.
const UNFINISHED: &str = ".10-brindle.conflist.brindle";
/// What the runtime calls the network, by which we know our own file again.
const NETWORK: &str = "brindle";
/// The program, in the runtime's folder of them.
const PLUGIN: &str = "brindle-cni";
/// The version of the specification: every runtime since 2021 speaks it.
const VERSION: &str = "1.0.0";
/// What the runtime reads (libcni).
const EXTENSIONS: [&str; 3] = ["conf", "conflist", "json"];

/// Sees to it that the file is as the configuration wants it, and says what is in the way.
pub(super) async fn see_to(known: &Known) {
    let config = known.facts.load().config.clone();
    if !config.cni.enabled {
        known.cni.set(Area::Conflist, Vec::new());
        known.cni.set(Area::Others, Vec::new());
        return;
    }
    let written = tokio::task::spawn_blocking(move || {
        let folder = &config.cni.config_dir;
        let written = write(folder, &content(&config));
        (folder.join(NAME), written, others(folder))
    });
    let Ok((path, written, others)) = written.await else { return };
    let problem = match written {
        Ok(true) => {
            info!(file = %path.display(), "the container runtime is told to use our plug-in");
            None
        }
        Ok(false) => None,
        Err(why) => Some(format!("{}: {why}", path.display())),
    };
    known.cni.set(Area::Conflist, problem.into_iter().collect());
    known.cni.set(Area::Others, others.into_iter().collect());
}

/// The file's content.
fn content(config: &Config) -> String {
    let mut own = json!({
        "type": PLUGIN,
        "socket": config.control.socket,
        "dataDir": config.cni.data_dir,
    });
    if let Some(mtu) = config.cni.mtu {
        own["mtu"] = mtu.into();
    }
    let chained = config.cni.chain.iter().map(|plugin| match plugin {
        // Replies to what came to a hostPort from the node itself find back only by this.
        ChainedPlugin::Portmap => {
            json!({"type": "portmap", "snat": true, "capabilities": {"portMappings": true}})
        }
        ChainedPlugin::Bandwidth => {
            json!({"type": "bandwidth", "capabilities": {"bandwidth": true}})
        }
    });
    let plugins: Vec<Value> = [own].into_iter().chain(chained).collect();
    let list = json!({"cniVersion": VERSION, "name": NETWORK, "plugins": plugins});
    format!("{list:#}\n")
}

/// Writes it, if it is not there as it should be; whether it did.
///
/// # Errors
/// In words: what the kernel says, or that the file is somebody else's.
fn write(folder: &Path, content: &str) -> Result<bool, String> {
    let path = folder.join(NAME);
    match fs::read_to_string(&path) {
        Ok(there) if there == content => return Ok(false),
        Ok(there) if !is_ours(&there) => {
            return Err(format!(
                "the file is not one of brindle's, and is left alone; while it is there, pods are \
                 not connected as cni.enabled wants: remove it, or name another cni.configDir"
            ));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(format!("cannot be read: {error}")),
    }
    replace(folder, content).map(|()| true).map_err(|error| format!("cannot be written: {error}"))
}

/// Puts it in place as a whole, also if the host loses power meanwhile.
fn replace(folder: &Path, content: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let unfinished = folder.join(UNFINISHED);
    let mut file = File::create(&unfinished)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, folder.join(NAME))?;
    File::open(folder)?.sync_all()
}

/// Whether a file is one that we wrote, maybe as an earlier version of us.
fn is_ours(content: &str) -> bool {
    let Ok(list) = serde_json::from_str::<Value>(content) else { return false };
    list["name"] == NETWORK && list["plugins"][0]["type"] == PLUGIN
}

/// A sentence if files of others come before ours: the runtime takes the first.
fn others(folder: &Path) -> Option<String> {
    let names =
        fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_read = |name: &String| {
        let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) && !name.starts_with('.')
    };
    let mut before: Vec<String> =
        names.filter(|name| is_read(name) && name.as_str() < NAME).collect();
    before.sort();
    let named = before.iter().map(|name| crate::visible::visible(name).to_string());
    let named = named.collect::<Vec<_>>().join(", ");
    (!before.is_empty()).then(|| {
        format!(
            "{}: the container runtime takes {named} before {NAME}: pods are connected by another \
             network plug-in",
            folder.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(cni: &str) -> Config {
        let text = format!("{{node: {{podCIDRs: [10.1.0.0/24]}}, cni: {{enabled: true{cni}}}}}");
        Config::from_yaml("test.yaml", &text).unwrap()
    }

    #[test]
    fn it_says_what_the_configuration_says() {
        let list: Value = serde_json::from_str(&content(&config(""))).unwrap();
        let want = json!({
            "cniVersion": "1.0.0",
            "name": "brindle",
            "plugins": [
                {
                    "type": "brindle-cni",
                    "socket": "/run/brindle/brindle.sock",
                    "dataDir": "/var/lib/brindle/cni",
                },
                {"type": "portmap", "snat": true, "capabilities": {"portMappings": true}},
                {"type": "bandwidth", "capabilities": {"bandwidth": true}},
            ],
        });
        assert_eq!(list, want);
        let list: Value =
            serde_json::from_str(&content(&config(", mtu: 1400, chain: []"))).unwrap();
        assert_eq!(list["plugins"].as_array().map(Vec::len), Some(1));
        assert_eq!(list["plugins"][0]["mtu"], 1400);
    }

    #[test]
    fn it_is_written_once_and_again_when_it_changes_and_over_nobody_elses() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("net.d");
        let (first, second) = (content(&config("")), content(&config(", mtu: 1400")));
        assert_eq!(write(&folder, &first), Ok(true), "with its folder");
        assert_eq!(write(&folder, &first), Ok(false));
        assert_eq!(write(&folder, &second), Ok(true));
        assert_eq!(fs::read_to_string(folder.join(NAME)).unwrap(), second);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left over");
        for foreign in ["", "{", r#"{"name": "brindle", "plugins": [{"type": "bridge"}]}"#] {
            fs::write(folder.join(NAME), foreign).unwrap();
            let refused = write(&folder, &first).unwrap_err();
            assert!(refused.contains("is left alone"), "{refused}");
            assert_eq!(fs::read_to_string(folder.join(NAME)).unwrap(), foreign);
        }
    }

    #[test]
    fn files_that_come_before_are_named() {
        let folder = tempfile::tempdir().unwrap();
        for name in [NAME, "20-other.conflist", "05-note.txt", ".00-unfinished.conf"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(others(folder.path()), None);
        fs::write(folder.path().join("05-flannel.conf"), "").unwrap();
        let said = others(folder.path()).unwrap();
        assert!(said.contains("takes 05-flannel.conf before 10-brindle.conflist"), "{said}");
        assert_eq!(others(Path::new("/nowhere")), None);
    }
}
