//! Routes that are followed, and the RIB in a file.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use brindle::control::view::{
    self, ChangeCause, ChangeKind, DumpHead, DumpPeer, DumpedPath, DumpedPrefix, Path, PathStatus,
    RouteChange, RouteChanges, RouteGap, TableDump,
};
use brindle::control::{Answer, Query};

use crate::agent::Agent;
use crate::views;

/// What is told of changes, and where it ends.
pub(crate) fn changes(items: Vec<RouteChange>, next: &str) -> RouteChanges {
    RouteChanges { items, gap: None, next: next.to_owned() }
}

/// Another path of another peer is used beside the first.
pub(crate) fn changed() -> RouteChange {
    let [first, second] = ["n1", "tor-a"]
        .map(|from| views::path("10.244.1.0/24", Some(from), Some("10.0.0.1"), PathStatus::Best));
    let also = Path { status: PathStatus::Multipath, path_id: Some(4), ..second };
    RouteChange {
        time: "2026-01-02T03:04:05.678Z".parse().unwrap(),
        prefix: first.prefix,
        change: ChangeKind::Changed,
        cause: ChangeCause::Announced,
        peer: Some("tor-a".to_owned()),
        paths: vec![first.clone(), also],
        before: vec![first],
    }
}

/// Our own route is no more.
pub(crate) fn removed() -> RouteChange {
    let own = views::path("10.244.2.0/24", None, None, PathStatus::Best);
    RouteChange {
        prefix: own.prefix,
        change: ChangeKind::Removed,
        cause: ChangeCause::Withdrawn,
        peer: None,
        paths: vec![],
        before: vec![own],
        ..changed()
    }
}

/// A path of a peer, and our own.
pub(crate) fn dump() -> TableDump {
    let since: view::Time = "2026-01-02T03:04:05Z".parse().unwrap();
    let path = |from: Option<&str>, attributes: &[u8]| DumpedPath {
        from: from.map(str::to_owned),
        path_id: from.map(|_| 4),
        since,
        attributes: attributes.to_vec(),
    };
    TableDump {
        head: Some(DumpHead {
            node: "n2".to_owned(),
            as_number: 64512,
            router_id: [10, 0, 0, 2].into(),
            peers: vec![DumpPeer {
                name: "n1".to_owned(),
                address: "10.0.0.1".parse().unwrap(),
                as_number: 64512,
                router_id: Some([10, 0, 0, 1].into()),
            }],
        }),
        items: vec![DumpedPrefix {
            prefix: "10.244.1.0/24".parse().unwrap(),
            paths: vec![
                path(Some("n1"), &[0x40, 1, 1, 0]),
                path(None, &[]),
                path(Some("new"), &[]),
            ],
        }],
        next: None,
    }
}

/// Changes once, then a gap, then nothing any more.
fn agent() -> Agent {
    let mut asked = 0;
    Agent::start(move |query| match query {
        Query::RouteChanges { after: Some(after), .. } => {
            asked += 1;
            let answer = match (asked, &*after) {
                (1, "7-0") => changes(vec![changed(), removed()], "7-2"),
                (2, "7-2") => {
                    let gap = Some(RouteGap::Missed { changes: 40_000 });
                    RouteChanges { gap, ..changes(vec![], "7-40002") }
                }
                (3, "7-0") => return None,
                other => panic!("{other:?}"),
            };
            Some(Ok(Answer::RouteChanges(Box::new(answer))))
        }
        other => views::answer(other),
    })
}

fn follow(agent: &Agent, format: &str, count: usize) -> (Vec<String>, String) {
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("brindle"))
        .args(["routes", "-w", "-o", format, "--socket"])
        .arg(&agent.socket)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let lines = lines.take(count).map(Result::unwrap).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    (lines, complaint)
}

#[test]
fn the_table_is_followed_by_a_line_per_change_and_told_again_behind_a_gap() {
    let (lines, complaint) = follow(&agent(), "table", 1 + 3 + 3 + 3);
    // Rows of the table have the time of the look, changes their own.
    let lines: Vec<&str> = lines.iter().map(|line| line[26..].trim_end()).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    PREFIX         NEXT HOP    FROM       STATUS  PREF  MED  AS PATH      REASON
    10.244.1.0/24  10.0.0.1    n1         best     100    -  -            -
    10.244.2.0/24  -           this node  best     100    -  -            -
    192.0.2.0/24   10.0.0.250  tor-a      best     100   50  65001 65010  -
    10.244.1.0/24     10.0.0.1    n1         best        100    -  -            announced by tor-a; was 10.0.0.1 from n1
    10.244.1.0/24 #4  10.0.0.1    tor-a      multipath   100    -  -            -
    10.244.2.0/24     -           -          gone          -    -  -            not originated here any more; was this node's
    10.244.1.0/24     10.0.0.1    n1         best        100    -  -            -
    10.244.2.0/24     -           this node  best        100    -  -            -
    192.0.2.0/24      10.0.0.250  tor-a      best        100   50  65001 65010  -
    ");
    assert_eq!(
        complaint,
        "missed 40000 changes that came faster than they were read: the table follows as it is now\n"
    );
}

#[test]
fn in_json_each_line_is_a_document_and_says_where_the_table_begins_and_ends() {
    for format in ["json", "jsonl"] {
        let (lines, _) = follow(&agent(), format, 5 + 2 + 5);
        let lines: Vec<serde_json::Value> =
            lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let kinds: Vec<_> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
        let table = ["RouteTable", "Route", "Route", "Route", "RouteTable"];
        let all = [&table[..], &["RouteChange", "RouteChange"], &table].concat();
        assert_eq!(kinds, all);
        assert_eq!(lines[0]["reason"], "watching begins");
        assert_eq!((&lines[0]["state"], &lines[4]["state"]), (&"begins".into(), &"ends".into()));
        assert!(lines[7]["reason"].as_str().unwrap().starts_with("missed 40000 changes"));
        let change = &lines[5];
        assert_eq!((&change["change"], &change["cause"]), (&"changed".into(), &"announced".into()));
        assert_eq!((&change["peer"], &change["paths"][1]["pathID"]), (&"tor-a".into(), &4.into()));
        assert_eq!(change["before"][0]["from"], "n1");
        assert_eq!(
            (&lines[6]["change"], &lines[6]["paths"]),
            (&"removed".into(), &serde_json::json!([]))
        );
    }
    let (names, _) = follow(&agent(), "name", 8);
    assert_eq!(names[3..5], ["10.244.1.0/24", "10.244.2.0/24"]);
}

#[test]
fn a_reader_that_is_gone_is_noticed_also_while_nothing_changes() {
    let agent = Agent::start(|query| match query {
        Query::RouteChanges { after: Some(_), .. } => {
            Some(Ok(Answer::RouteChanges(Box::new(changes(vec![], "7-0")))))
        }
        other => views::answer(other),
    });
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("brindle"))
        .args(["routes", "-w", "--socket"])
        .arg(&agent.socket)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_dump_replaces_a_file_as_a_whole_and_pipes_are_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let [file, link, pipe] = ["table.mrt", "link", "pipe"].map(|name| folder.path().join(name));
    std::fs::write(&file, "before").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let agent = Agent::start(views::answer);
    let dump = |to: &str| agent.brindle(&["routes", "dump", to]).output().unwrap();
    let output = dump(link.to_str().unwrap());
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        told,
        format!(
            "written to {}: prefixes 1, paths 2, peers 1; left out, of peers that came meanwhile: paths 1\n",
            link.display()
        )
    );
    let records = std::fs::read(&file).unwrap();
    // The records of peers, of our own path, and of the one with an identifier (RFC 8050).
    let kinds = |mut octets: &[u8]| {
        let mut kinds = Vec::new();
        while let [_, _, _, _, 0, 13, 0, kind, rest @ ..] = octets {
            let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            kinds.push((*kind, rest[4..][..length].to_vec()));
            octets = &rest[4 + length..];
        }
        assert_eq!(octets, [0; 0]);
        kinds
    };
    let read = kinds(&records);
    assert_eq!(read.iter().map(|record| record.0).collect::<Vec<_>>(), [1, 2, 8]);
    let since = 1_767_323_045_u32.to_be_bytes();
    assert_eq!(read[2].1[12..], [&since[..], &[0, 0, 0, 4, 0, 4, 0x40, 1, 1, 0]].concat());
    assert!(link.is_symlink());

    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read(pipe).unwrap()
    });
    assert_eq!(dump(pipe.to_str().unwrap()).status.code(), Some(0));
    assert_eq!(kinds(&reader.join().unwrap()), read);
    assert_eq!(kinds(&dump("-").stdout), read);
    let mut names: Vec<_> =
        folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["link", "pipe", "table.mrt"]);

    // An agent that does not answer leaves what was there.
    let agent =
        Agent::start(|_| Some(Err(brindle::control::Failure::Unavailable("no".to_owned()))));
    let output = agent.brindle(&["routes", "dump", file.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(std::fs::read(&file).unwrap(), records);
    assert_eq!(folder.path().read_dir().unwrap().count(), 3);
}
