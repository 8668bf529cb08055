//! `brindle routes dump`: the RIB in a file, as MRT has it (RFC 6396 §4.3, RFC 8050).

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use brindle_bgp::mrt;
use brindle_bgp::msg::PathId;
use brindle_bgp::net::Family;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::linkat;

use super::ask::{Ask, Show, lost};
use super::output::Format;
use super::{Exit, complain, note};
use crate::control::client::{AskError, Client};
use crate::control::view::{DumpHead, TableDump, Time};
use crate::control::wire::BadAnswer;
use crate::control::{Answer, PageRequest, Query};

/// Ourselves in the index of peers.
const OURS: u16 = 0;

/// Writes it to `file`; `-` is standard output.
pub(super) fn run(ask: &Ask, show: &Show, family: Option<Family>, file: &Path) -> Exit {
    if show.watch || show.output != Format::Table {
        complain("a dump is MRT and is taken once: --watch and --output mean nothing for it");
        return Exit::Usage;
    }
    let client = ask.client();
    let query = Query::Dump(family, PageRequest::first());
    if file == Path::new("-") {
        let out = io::stdout();
        if out.is_terminal() {
            complain("a dump is no text: name a file, or lead standard output elsewhere");
            return Exit::Usage;
        }
        return match write(&client, query, &mut BufWriter::new(out.lock())) {
            Err(Problem::Write(error)) => lost(&error, Exit::Fine),
            dumped => told(dumped, "standard output"),
        };
    }
    told(put(&client, query, file), &file.display().to_string())
}

fn told(dumped: Result<Count, Problem>, place: &str) -> Exit {
    match dumped {
        Ok(count) => {
            note(format_args!("written to {place}: {count}"));
            Exit::Fine
        }
        Err(Problem::Ask(error)) => {
            complain(&error);
            error.exit()
        }
        Err(Problem::Write(error)) => {
            complain(format_args!("cannot write {place}: {error}"));
            Exit::Bad
        }
        Err(Problem::TooMany) => {
            complain(
                "there are more peers, or more paths of one prefix, than MRT can count (65535)",
            );
            Exit::Bad
        }
    }
}

/// Why there is no dump.
enum Problem {
    Ask(AskError),
    Write(io::Error),
    TooMany,
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        Problem::Ask(error)
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Problem::Write(error)
    }
}

/// A file is there as a whole or as it was before; a pipe or a device is written to.
fn put(client: &Client, query: Query, file: &Path) -> Result<Count, Problem> {
    // Where a link leads, the file is replaced, not the link.
    let target = match fs::canonicalize(file) {
        Ok(target) => target,
        Err(error) if error.kind() == ErrorKind::NotFound => file.to_owned(),
        Err(error) => return Err(error.into()),
    };
    match fs::metadata(&target) {
        Ok(found) if found.is_dir() => {
            let text = "it is a folder; accepted are a file, and - for standard output";
            return Err(io::Error::new(ErrorKind::IsADirectory, text).into());
        }
        Ok(found) if !found.is_file() => {
            let out = File::options().write(true).open(&target)?;
            return write(client, query, &mut BufWriter::new(out));
        }
        Ok(_) | Err(_) => {}
    }
    let fresh = beside(&target)?;
    let written = (|| {
        let (out, has_name) = begin(&fresh)?;
        let mut out = BufWriter::new(out);
        let count = write(client, query, &mut out)?;
        out.get_ref().sync_all()?;
        if !has_name {
            let open = format!("/proc/self/fd/{}", out.get_ref().as_raw_fd());
            linkat(AT_FDCWD, &*open, AT_FDCWD, &fresh, AtFlags::AT_SYMLINK_FOLLOW)
                .map_err(io::Error::from)?;
        }
        fs::rename(&fresh, &target)?;
        Ok(count)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written
}

/// A new file where `fresh` will be, and whether it is there by that name already. Mostly it has
/// none before it is whole, so that nothing is left of it whoever ends us.
fn begin(fresh: &Path) -> io::Result<(File, bool)> {
    let folder = fresh.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let nameless = File::options().write(true).custom_flags(libc::O_TMPFILE).open(folder);
    match nameless {
        Ok(file) => Ok((file, false)),
        // What file systems, or kernels, without such files say.
        Err(error)
            if [Errno::EOPNOTSUPP, Errno::EISDIR, Errno::EINVAL]
                .contains(&Errno::from_raw(error.raw_os_error().unwrap_or_default())) =>
        {
            Ok((File::options().write(true).create_new(true).open(fresh)?, true))
        }
        Err(error) => Err(error),
    }
}

/// A name in the same folder that nobody else writes to.
fn beside(target: &Path) -> io::Result<PathBuf> {
    let name = target.file_name().ok_or_else(|| {
        io::Error::new(ErrorKind::InvalidInput, "it names no file; accepted is a path to one")
    })?;
    let name = format!(".{}.{}.new", name.to_string_lossy(), std::process::id());
    Ok(target.with_file_name(name))
}

/// What was written.
#[derive(Default)]
struct Count {
    peers: usize,
    prefixes: usize,
    paths: usize,
    left_out: usize,
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { peers, prefixes, paths, left_out } = self;
        write!(f, "prefixes {prefixes}, paths {paths}, peers {peers}")?;
        match left_out {
            0 => Ok(()),
            _ => write!(f, "; left out, of peers that came meanwhile: paths {left_out}"),
        }
    }
}

fn write(client: &Client, query: Query, out: &mut impl Write) -> Result<Count, Problem> {
    let at = Time::from(SystemTime::now()).unix_seconds();
    let mut dump = Dump { out, table: mrt::Table::new(at), places: None, count: Count::default() };
    let mut written = Ok(());
    client.follow(query, |page| {
        written = match page {
            Answer::Dump(page) => dump.page(*page),
            _ => Err(bad("something else than a dump")),
        };
        written.is_ok()
    })?;
    written?;
    dump.out.flush()?;
    Ok(dump.count)
}

fn bad(what: &str) -> Problem {
    Problem::Ask(BadAnswer::Kind(what.to_owned()).into())
}

/// A dump in the making.
struct Dump<'a, W> {
    out: &'a mut W,
    table: mrt::Table,
    /// Peers by name, with their places in the index; `None` before the first page.
    places: Option<HashMap<String, u16>>,
    count: Count,
}

impl<W: Write> Dump<'_, W> {
    fn page(&mut self, page: TableDump) -> Result<(), Problem> {
        if let Some(head) = page.head {
            self.head(head)?;
        }
        let Some(places) = &self.places else { return Err(bad("a dump without its head")) };
        for dumped in page.items {
            let mut entries = Vec::with_capacity(dumped.paths.len());
            for path in dumped.paths {
                let place = match &path.from {
                    None => Some(OURS),
                    Some(name) => places.get(name).copied(),
                };
                let Some(peer) = place else {
                    self.count.left_out += 1;
                    continue;
                };
                entries.push(mrt::Entry {
                    peer,
                    originated: path.since.unix_seconds(),
                    path_id: path.path_id.map(PathId),
                    attributes: path.attributes.into(),
                });
            }
            let records = self.table.paths(&dumped.prefix, &entries).ok_or(Problem::TooMany)?;
            for record in &records {
                self.out.write_all(record)?;
            }
            self.count.prefixes += usize::from(!records.is_empty());
            self.count.paths += entries.len();
        }
        Ok(())
    }

    fn head(&mut self, head: DumpHead) -> Result<(), Problem> {
        let collector = head.router_id.to_bits();
        let ours = mrt::Peer {
            router_id: collector,
            address: IpAddr::from(Ipv4Addr::UNSPECIFIED),
            asn: head.as_number,
        };
        let others = head.peers.iter().map(|peer| mrt::Peer {
            router_id: peer.router_id.map_or(0, Ipv4Addr::to_bits),
            address: peer.address,
            asn: peer.as_number,
        });
        let all: Vec<mrt::Peer> = [ours].into_iter().chain(others).collect();
        let index = self.table.peers(collector, &head.node, &all).ok_or(Problem::TooMany)?;
        self.out.write_all(&index)?;
        self.count.peers = head.peers.len();
        let names = head.peers.into_iter().map(|peer| peer.name);
        self.places = Some(names.zip(OURS + 1..).collect());
        Ok(())
    }
}
