//! What people and programs see, to the letter.

use brindle::control::{Answer, Query, view};

use crate::agent::Agent;
use crate::views;

/// What the command prints, without the trailing newline, and its exit code.
fn shown(words: &[&str]) -> String {
    let agent = Agent::start(views::answer);
    let (text, code) = agent.run(words);
    format!("{text}-- exit {code}")
}

#[test]
fn status_is_one_screen_with_the_first_thing_to_do() {
    insta::assert_snapshot!(shown(&["status"]), @r#"
    brindle 0.1.0 on n2 (10.0.0.2)   healthy   up 3d4h   forwarding: yes
      Address    10.0.0.2: detected on eth0: source of the default route
      Pod CIDRs  10.244.2.0/24, fd00:10:244:2::/64
      Config     /etc/brindle/brindle.yaml  loaded 3d4h ago, current
      Source     files /etc/brindle/manifests  in sync, 12 nodes, 418 pods, 37 policies, last change 5m ago
      BGP        AS 64512, router id 10.0.0.2  3/4 established, 1 down (tor-b)   see: brindle peers tor-b
      Routes     24 learned, 1 our own, 25 wanted, 25 installed, 2 refused   see: brindle routes rejected
      Kernel     0 drifted, 0 stale, 3 repaired
      Policy     iptables-nft, 31/31 pods programmed, p99 apply 84ms, last repair 2d ago
    -- exit 0
    "#);
}

#[test]
fn status_of_an_unhealthy_node_ends_with_what_to_do_and_exit_code_1() {
    let agent = Agent::start(|query| match query {
        Query::Status => Some(Ok(Answer::Status(Box::new(views::unhealthy())))),
        other => views::answer(other),
    });
    let (text, code) = agent.run(&["status"]);
    insta::assert_snapshot!(format!("{text}-- exit {code}"), @r#"
    brindle 0.1.0 on n2 (10.0.0.2)   unhealthy   up 3d4h   forwarding: ipv4 yes (switched on by us), ipv6 NO
      Address    10.0.0.2: detected on eth0: source of the default route
      Pod CIDRs  10.244.2.0/24, fd00:10:244:2::/64
      Config     /etc/brindle/brindle.yaml  loaded 3d4h ago, STALE, newer files were refused: /etc/brindle/brindle.yaml:31:15  bgp.peers[2].peerIP: "10.0.0.300" is not an IP address
      Source     files /etc/brindle/manifests  in sync, 12 nodes, 418 pods, 37 policies, last change 5m ago; /etc/brindle/manifests/n7.yaml:14 document 2: spec.podCIDRs: "10.0.0.0" is not a prefix; its last good content stays
      BGP        AS 64512, router id 10.0.0.2  3/4 established, 1 down (tor-b), 1 disabled (n9)   see: brindle peers tor-b
      Routes     24 learned, 1 our own, 25 wanted, 25 installed, 2 refused   see: brindle routes rejected
      Kernel     1 drifted, 0 stale, 3 repaired; last failure: cannot install 10.244.7.0/24: no such device   see: brindle routes diff
      Policy     iptables-nft, 31/31 pods programmed, p99 apply 84ms, last repair 2d ago
    config: the newest file was refused
      correct it, then: brindle config reload
    -- exit 1
    "#);
}

#[test]
fn status_in_json_has_all_that_the_screen_has() {
    insta::assert_snapshot!(shown(&["status", "-o", "json"]), @r#"
    {
      "apiVersion": "brindle.dev/v1",
      "kind": "Status",
      "version": "0.1.0",
      "node": "n2",
      "healthy": true,
      "problems": [],
      "started": "2025-12-29T23:04:05.000Z",
      "uptimeSeconds": 273600,
      "addresses": [
        {
          "address": "10.0.0.2",
          "reason": "detected on eth0: source of the default route"
        }
      ],
      "podCIDRs": [
        "10.244.2.0/24",
        "fd00:10:244:2::/64"
      ],
      "config": {
        "files": [
          "/etc/brindle/brindle.yaml"
        ],
        "loaded": "2025-12-29T23:04:05.000Z",
        "loadedSeconds": 273600,
        "stale": false
      },
      "source": {
        "kind": "files",
        "path": "/etc/brindle/manifests",
        "inSync": true,
        "nodes": 12,
        "namespaces": 3,
        "pods": 418,
        "policies": 37,
        "changed": "2026-01-02T02:59:05.000Z",
        "changedSeconds": 300
      },
      "bgp": {
        "asNumber": 64512,
        "asNumberReason": "bgp.asNumber",
        "routerID": "10.0.0.2",
        "listen": [
          "10.0.0.2:179"
        ],
        "peers": 4,
        "established": 3,
        "down": [
          "tor-b"
        ],
        "disabled": []
      },
      "routes": [
        {
          "family": "ipv4",
          "learned": 24,
          "originated": 1,
          "wanted": 25,
          "installed": 25,
          "refused": 2
        }
      ],
      "forwarding": [
        {
          "family": "ipv4",
          "state": "on"
        }
      ],
      "kernel": {
        "ready": true,
        "install": true,
        "drifted": 0,
        "stale": 0,
        "conflicts": 0,
        "repairs": 3,
        "overruns": 0,
        "guarded": 0
      },
      "telemetry": {
        "listen": [
          "127.0.0.1:9798"
        ]
      },
      "policy": {
        "backend": "iptables-nft",
        "ready": true,
        "endpoints": 31,
        "programmed": 31,
        "pending": [],
        "applyP99Seconds": 0.084,
        "repairs": 1,
        "lastRepair": "2025-12-31T03:04:05.000Z",
        "lastRepairSeconds": 172800,
        "broken": [],
        "hostEndpoints": 0
      }
    }
    -- exit 0
    "#);
}

#[test]
fn status_without_bgp_says_so_and_what_telemetry_lacks() {
    let agent = Agent::start(|query| match query {
        Query::Status => {
            let mut status = views::status();
            (status.bgp, status.kernel) = (None, None);
            (status.routes, status.forwarding) = (vec![], vec![]);
            status.telemetry.warnings = vec!["not answered at 127.0.0.1:9798: taken".to_owned()];
            Some(Ok(Answer::Status(Box::new(status))))
        }
        other => views::answer(other),
    });
    let (text, code) = agent.run(&["status"]);
    insta::assert_snapshot!(format!("{text}-- exit {code}"), @r#"
    brindle 0.1.0 on n2 (10.0.0.2)   healthy   up 3d4h   forwarding: -
      Address    10.0.0.2: detected on eth0: source of the default route
      Pod CIDRs  10.244.2.0/24, fd00:10:244:2::/64
      Config     /etc/brindle/brindle.yaml  loaded 3d4h ago, current
      Source     files /etc/brindle/manifests  in sync, 12 nodes, 418 pods, 37 policies, last change 5m ago
      BGP        off (bgp.enabled: false); routes are left to others
      Telemetry  not answered at 127.0.0.1:9798: taken
      Policy     iptables-nft, 31/31 pods programmed, p99 apply 84ms, last repair 2d ago
    -- exit 0
    "#);
}

#[test]
fn peers_are_a_table_with_a_reason_for_each_that_is_not_up() {
    insta::assert_snapshot!(shown(&["peers"]), @r#"
    NAME            ADDRESS     AS     KIND    STATE        SINCE  RX  ACC  TX  MSG/FLAPS  LAST REASON
    n1              10.0.0.1    64512  mesh    Established  3d4h    2    2   2     8.9k/0  -
    x\u{1b}[2J\nno  fd00::9     64512  client  Idle         3d4h    -    -   -     8.9k/0  the peer says: \u{202e}\u{9b}31m
    tor-a           10.0.0.250  65001  peer    Established  3d4h   14   12   2     8.9k/0  2 refused; see: brindle routes rejected tor-a
    tor-b           10.0.0.251  65001  peer    Active       6m      -    -   -     8.9k/9  no answer to SYN; check path, peer config, MD5; next attempt in 5s
    -- exit 0
    "#);
}

#[test]
fn wide_peers_add_what_was_agreed() {
    insta::assert_snapshot!(shown(&["peers", "-o", "wide"]), @r#"
    NAME            ADDRESS     AS     KIND    STATE        SINCE  RX  ACC  TX  MSG/FLAPS  REJ  FAMILIES  ROUTER ID   HOLD  BFD  AUTH  LAST REASON
    n1              10.0.0.1    64512  mesh    Established  3d4h    2    2   2     8.9k/0    0  ipv4      10.0.0.1    90s   -    -     -
    x\u{1b}[2J\nno  fd00::9     64512  client  Idle         3d4h    -    -   -     8.9k/0    -  -         -           -     -    -     the peer says: \u{202e}\u{9b}31m
    tor-a           10.0.0.250  65001  peer    Established  3d4h   14   12   2     8.9k/0    2  ipv4      10.0.0.250  90s   -    -     2 refused; see: brindle routes rejected tor-a
    tor-b           10.0.0.251  65001  peer    Active       6m      -    -   -     8.9k/9    -  -         -           -     -    md5   no answer to SYN; check path, peer config, MD5; next attempt in 5s
    -- exit 0
    "#);
}

#[test]
fn one_peer_is_a_screen() {
    insta::assert_snapshot!(shown(&["peers", "tor-a"]), @r#"
    tor-a   Established for 3d4h
      address       10.0.0.250 port 179, AS 65001
      kind          peer
      last reason   2 refused; see: brindle routes rejected tor-a
      import        cluster-only
      export        everything
      connection    10.0.0.2:179 to 10.0.0.250:41822, dialled by the peer
      router id     10.0.0.250
      timers        hold 90s, keepalive 30s, last heard 12s ago
      families      ipv4
      we offer      multiprotocol ipv4, multiprotocol ipv6, four-octet AS
      peer offers   multiprotocol ipv4, four-octet AS
      agreed        multiprotocol ipv4, four-octet AS
      waiting       0 octets to be written
      ipv4          14 received, 12 accepted, 2 refused, 2 advertised, complete
      received      1 OPEN, 4 UPDATE, 4470 KEEPALIVE, 0 NOTIFICATION, 0 ROUTE-REFRESH
      sent          1 OPEN, 3 UPDATE, 4471 KEEPALIVE, 0 NOTIFICATION, 0 ROUTE-REFRESH
      flaps         0
      last received Cease: Administrative Reset (6/4) "spine upgrade", 3d4h ago
    -- exit 0
    "#);
    insta::assert_snapshot!(shown(&["peers", "10.0.0.251"]), @r#"
    tor-b   Active for 6m
      address       10.0.0.251 port 179, AS 65001
      kind          peer
      last reason   no answer to SYN; check path, peer config, MD5
      next attempt  in 5s, 2026-01-02T03:04:10.000Z
      signed        TCP MD5, from file /etc/brindle/keys/tor-b
      import        nothing: there are no filters (RFC 8212)
      export        nothing: there are no filters (RFC 8212)
      timers        hold 90s offered, connect retry 1s
      ipv4          2 received, 2 accepted, 0 refused, 2 advertised
      received      1 OPEN, 4 UPDATE, 4470 KEEPALIVE, 0 NOTIFICATION, 0 ROUTE-REFRESH
      sent          1 OPEN, 3 UPDATE, 4471 KEEPALIVE, 0 NOTIFICATION, 0 ROUTE-REFRESH
      flaps         9
    -- exit 0
    "#);
}

#[test]
fn a_list_in_yaml_is_one_document() {
    insta::assert_snapshot!(shown(&["routes", "kernel", "-o", "yaml"]), @r#"
    apiVersion: brindle.dev/v1
    kind: KernelRouteList
    items:
    - prefix: 10.244.1.0/24
      wanted:
        type: via
        nextHops:
        - address: "10.0.0.1"
          interface: eth0
      installed:
        type: via
        nextHops:
        - address: "10.0.0.1"
          interface: eth0
      state: installed
    - prefix: 10.244.7.0/24
      wanted:
        type: via
        nextHops:
        - address: "10.0.0.7"
          interface: eth0
      state: missing
      problem: link eth0 went down, reinstalled when it is up
    -- exit 0
    "#);
    insta::assert_snapshot!(shown(&["peers", "tor-a", "-o", "yaml"]), @r#"
    apiVersion: brindle.dev/v1
    kind: Peer
    name: tor-a
    address: "10.0.0.250"
    port: 179
    asNumber: 65001
    type: peer
    state: Established
    since: "2025-12-29T23:04:05.000Z"
    sinceSeconds: 273600
    flaps: 0
    families:
    - family: ipv4
      received: 14
      accepted: 12
      rejected: 2
      advertised: 2
      endOfRib: true
    messages:
      received:
        open: 1
        update: 4
        keepalive: 4470
        notification: 0
        routeRefresh: 0
      sent:
        open: 1
        update: 3
        keepalive: 4471
        notification: 0
        routeRefresh: 0
    passive: false
    timers:
      holdTimeSeconds: 90
      connectRetrySeconds: 1
      sendHoldSeconds: 480
    importPolicy: filters
    exportPolicy: everything
    importFilters:
    - cluster-only
    negotiated:
      local: 10.0.0.2:179
      remote: 10.0.0.250:41822
      dialled: false
      peerRouterID: "10.0.0.250"
      holdTimeSeconds: 90
      keepaliveSeconds: 30
      families:
      - ipv4
      capabilitiesSent:
      - multiprotocol ipv4
      - multiprotocol ipv6
      - four-octet AS
      capabilitiesReceived:
      - multiprotocol ipv4
      - four-octet AS
      capabilitiesAgreed:
      - multiprotocol ipv4
      - four-octet AS
      lastReceivedSeconds: 12
      outQueueBytes: 0
    lastNotificationReceived:
      reason: "Cease: Administrative Reset (6/4) \"spine upgrade\""
      code: 6
      subcode: 4
      at: "2025-12-29T23:04:03.000Z"
      atSeconds: 273602
    -- exit 0
    "#);
}

#[test]
fn text_in_yaml_cannot_be_misread() {
    for text in [
        "no",
        "Yes",
        "on",
        "off",
        "y",
        "N",
        "true",
        "null",
        "~",
        "",
        "12",
        "012",
        "0x1f",
        "0o7",
        "1e3",
        ".5",
        "1_000",
        "12:30:45",
        "2026-01-02",
        ".inf",
        "<<",
        "=",
        "- a",
        "a: b",
        "a #b",
        "[a]",
        "{a",
        "*a",
        "&a",
        "!a",
        "%a",
        "@a",
        "`a",
        " a ",
        "a\nb",
        "\u{1b}[2J",
        "\u{202e}x",
        "plain words",
    ] {
        let agent = Agent::start(move |_| {
            let done = view::Done { peer: "p".to_owned(), message: text.to_owned() };
            Some(Ok(Answer::Done(done)))
        });
        let (yaml, _) = agent.run(&["peers", "enable", "p", "-o", "yaml"]);
        let read: serde_yaml::Value = serde_yaml::from_str(&yaml).unwrap();
        assert_eq!(read["message"], text, "{yaml}");
        let line = yaml.lines().find(|line| line.starts_with("message:")).unwrap();
        let is_quoted =
            ["message: \"", "message: '", "message: |"].iter().any(|quote| line.starts_with(quote));
        assert_eq!(is_quoted, text != "plain words" && text != "\u{202e}x", "{line}");
        assert!(!yaml.contains('\x1b'), "{yaml:?}");
    }
}

#[test]
fn peers_by_name_and_by_line() {
    insta::assert_snapshot!(shown(&["peers", "-o", "name"]), @r#"
    n1
    x\u{1b}[2J\nno
    tor-a
    tor-b
    -- exit 0
    "#);
    let (lines, _) = Agent::start(views::answer).run(&["peers", "-o", "jsonl"]);
    let kinds: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|peer| format!("{} {} {}", peer["apiVersion"], peer["kind"], peer["state"]))
        .collect();
    insta::assert_snapshot!(kinds.join("\n"), @r#"
    "brindle.dev/v1" "Peer" "Established"
    "brindle.dev/v1" "Peer" "Idle"
    "brindle.dev/v1" "Peer" "Established"
    "brindle.dev/v1" "Peer" "Active"
    "#);
}

#[test]
fn routes_show_the_paths_in_use() {
    insta::assert_snapshot!(shown(&["routes"]), @r#"
    PREFIX         NEXT HOP    FROM       STATUS  PREF  MED  AS PATH      REASON
    10.244.1.0/24  10.0.0.1    n1         best     100    -  -            -
    10.244.2.0/24  -           this node  best     100    -  -            -
    192.0.2.0/24   10.0.0.250  tor-a      best     100   50  65001 65010  -
    -- exit 0
    "#);
    insta::assert_snapshot!(shown(&["routes", "-o", "wide"]), @r#"
    PREFIX         NEXT HOP    FROM       STATUS  PREF  MED  AS PATH      ORIGIN  COMMUNITIES                      ORIGINATOR  CLUSTERS  REASON
    10.244.1.0/24  10.0.0.1    n1         best     100    -  -            igp     -                                -           -         -
    10.244.2.0/24  -           this node  best     100    -  -            igp     -                                -           -         -
    192.0.2.0/24   10.0.0.250  tor-a      best     100   50  65001 65010  igp     65001:100, no-export, 64512:1:2  -           -         -
    -- exit 0
    "#);
}

#[test]
fn one_route_shows_all_its_paths_and_why_they_lost() {
    insta::assert_snapshot!(shown(&["routes", "192.0.2.0/24"]), @r#"
    PREFIX        NEXT HOP    FROM   STATUS  PREF  MED  AS PATH            REASON
    192.0.2.0/24  10.0.0.250  tor-a  best     100   50  65001 65010        -
    192.0.2.0/24  10.0.0.251  tor-b  lost     100    -  65001 65020 65010  the best has a shorter AS path
    -- exit 0
    "#);
    insta::assert_snapshot!(shown(&["routes", "10.244.2.7", "-o", "json"]), @r#"
    {
      "apiVersion": "brindle.dev/v1",
      "kind": "RouteList",
      "items": [
        {
          "prefix": "10.244.2.0/24",
          "paths": [
            {
              "prefix": "10.244.2.0/24",
              "status": "best",
              "attributes": {
                "origin": "igp",
                "asPath": "",
                "localPref": 100
              }
            }
          ]
        }
      ]
    }
    -- exit 0
    "#);
}

#[test]
fn routes_of_a_peer_in_and_out() {
    insta::assert_snapshot!(shown(&["routes", "in", "tor-b"]), @r#"
    PREFIX        NEXT HOP    FROM   STATUS  PREF  MED  AS PATH            REASON
    192.0.2.0/24  10.0.0.251  tor-b  lost     100    -  65001 65020 65010  the best has a shorter AS path
    -- exit 0
    "#);
    insta::assert_snapshot!(shown(&["routes", "out", "tor-a"]), @r#"
    PREFIX         NEXT HOP  FROM       STATUS      PREF  MED  AS PATH  REASON
    10.244.2.0/24  10.0.0.2  this node  advertised   100    -  -        -
    -- exit 0
    "#);
}

#[test]
fn refused_routes_name_rule_and_reason() {
    insta::assert_snapshot!(shown(&["routes", "rejected"]), @r#"
    PREFIX         FROM   RULE                 REASON                                     COUNT  LAST
    10.244.2.0/24  n5     mesh-ownership       belongs to Node/n2; n5 owns 10.244.5.0/24      3  2m
    0.0.0.0/0      tor-a  filter cluster-only  not inside 10.244.0.0/16                       -  -
    -- exit 0
    "#);
    insta::assert_snapshot!(shown(&["routes", "rejected", "n5", "-o", "wide"]), @r#"
    PREFIX         FROM  RULE            REASON                                     COUNT  LAST  OWNER
    10.244.2.0/24  n5    mesh-ownership  belongs to Node/n2; n5 owns 10.244.5.0/24      3  2m    Node/n2
    -- exit 0
    "#);
}

#[test]
fn the_kernels_routes_and_where_they_differ() {
    insta::assert_snapshot!(shown(&["routes", "kernel"]), @r#"
    PREFIX         WANTED             INSTALLED          STATE      PROBLEM
    10.244.1.0/24  via 10.0.0.1 eth0  via 10.0.0.1 eth0  installed  -
    10.244.7.0/24  via 10.0.0.7 eth0  -                  missing    link eth0 went down, reinstalled when it is up
    -- exit 0
    "#);
    insta::assert_snapshot!(shown(&["routes", "diff"]), @r#"
    PREFIX         WANTED             INSTALLED  STATE    PROBLEM
    10.244.7.0/24  via 10.0.0.7 eth0  -          missing  link eth0 went down, reinstalled when it is up
    -- exit 1
    "#);
}

#[test]
fn changes_say_what_was_done() {
    insta::assert_snapshot!(shown(&["peers", "reset", "tor-a", "--soft-in"]), @r#"
    tor-a: session is being reset
    -- exit 0
    "#);
    insta::assert_snapshot!(shown(&["peers", "disable", "tor-a", "--message", "a b/c?&"]), @r#"
    tor-a: disabled; told the peer: a b/c?&
    -- exit 0
    "#);
}
