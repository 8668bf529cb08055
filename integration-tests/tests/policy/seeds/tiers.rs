//! S4: names and pods without translation, a database that only its backend reaches, egress
//! denied but for DNS.

use integration_tests::TestLab;

use super::dns::{Cluster, resolve, resolves, seen_by};
use super::{play, pod};

const MYSQLDB: &str = "
kind: NetworkPolicy
apiVersion: networking.k8s.io/v1
metadata:
  name: mysqldb
  namespace: default
spec:
  podSelector:
    matchLabels:
      app: mysqldb
  ingress:
  - from:
    - podSelector:
        matchLabels:
          tier: backend
    ports:
      - protocol: TCP
        port: 3306
  egress:
    - to: []
";

const DENY_EGRESS: &str = "
kind: NetworkPolicy
apiVersion: networking.k8s.io/v1
metadata:
  name: default-deny-egress
spec:
  podSelector: {}
  policyTypes:
  - Egress
  egress: []
";

const ALLOW_DNS: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: default-deny-except-dns-egress}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
";

const OUTSIDE: &str = "www.google.com";

#[test]
fn s4_three_tiers_and_default_deny() {
    play("s4", &manifests(), three_tiers);
}

pub(crate) fn manifests() -> String {
    [
        pod("default", "bb1", "n1", "app: bb1", ""),
        pod("default", "bb2", "n2", "app: bb2", ""),
        pod("default", "mysqldb", "n1", "app: mysqldb, tier: database", "{containerPort: 3306}"),
        pod("default", "flaskback", "n2", "app: flaskback, tier: backend", "{containerPort: 5000}"),
        pod("default", "flasknear", "n1", "app: flaskback, tier: backend", "{containerPort: 5000}"),
        pod("kube-system", "dns", "n2", "k8s-app: kube-dns", ""),
    ]
    .concat()
}

pub(crate) fn three_tiers(lab: &TestLab, backend: &str) {
    let cluster = Cluster::new(lab, backend, "kube-system/dns");
    lab.expect("S4.1.1: by address", "bb2 -> bb1:8888 OK");
    // a headless Service is a name for the pods' own addresses
    let bb1 = lab.addresses("bb1")[0];
    cluster.name("bb1.default.svc.cluster.local", &bb1.to_string());
    cluster.name(OUTSIDE, &lab.addresses("node/tor1")[0].to_string());
    cluster.start();
    assert_eq!(resolve(lab, "bb2", "bb2.default.svc.cluster.local"), None, "S4.1.2: no Service");
    assert_eq!(
        resolve(lab, "bb2", "bb1.default.svc.cluster.local"),
        Some(bb1),
        "S4.1.3: a headless Service resolves to the pod"
    );
    let bb2 = lab.addresses("bb2")[0];
    assert_eq!(seen_by(lab, "bb2", bb1), bb2, "S4.1.4: the listener sees the pod's own address");

    lab.expect("S4.2: before", "bb2 -> mysqldb:3306 OK");
    lab.apply(MYSQLDB);
    lab.expect(
        "S4.2: the database is protected",
        "bb2 -> mysqldb:3306 TIMEOUT
         bb1 -> mysqldb:3306 TIMEOUT
         bb2 -> flaskback:5000 OK
         flaskback -> mysqldb:3306 OK
         flasknear -> mysqldb:3306 OK
         flaskback -> mysqldb:3307 TIMEOUT
         flaskback -> mysqldb:3306/udp TIMEOUT
         flaskback -> mysqldb icmp TIMEOUT
         mysqldb -> bb2:80 OK
         mysqldb -> node/tor1:80 OK",
    );
    let new = pod("default", "newpod", "n1", "", "");
    lab.apply(&new);
    lab.expect("S4.2: a new pod", "newpod -> flaskback:5000 OK\nnewpod -> mysqldb:3306 TIMEOUT");

    assert!(resolves(lab, "bb2", OUTSIDE), "S4.3: before");
    lab.expect("S4.3: before", "bb2 -> node/tor1:80 OK");
    lab.apply(DENY_EGRESS);
    lab.expect(
        "S4.3: egress denied, policies add up",
        "bb2 -> node/tor1:80 TIMEOUT
         mysqldb -> node/tor1:80 OK
         flaskback -> mysqldb:3306 TIMEOUT
         flasknear -> mysqldb:3306 TIMEOUT",
    );
    assert!(!resolves(lab, "bb2", OUTSIDE), "S4.3: no names either");

    lab.apply(ALLOW_DNS);
    lab.expect("S4.4: still no way out", "bb2 -> node/tor1:80 TIMEOUT");
    assert!(
        resolves(lab, "bb2", OUTSIDE),
        "S4.4: names resolve, judged after the Service's address was translated"
    );
    cluster.end();
}
