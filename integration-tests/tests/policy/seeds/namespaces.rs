//! S3: a backend that is closed, then open to a label in any namespace, then in one; one
//! policy replaced in place.

use integration_tests::TestLab;

use super::{namespace, play, pod};

/// The policy with this list of ingress rules, as YAML.
fn backend_policy(ingress: &str) -> String {
    format!(
        "
kind: NetworkPolicy
apiVersion: networking.k8s.io/v1
metadata: {{name: backend-policy, namespace: development}}
spec:
  podSelector:
    matchLabels: {{app: webapp, role: backend}}
  ingress: {ingress}
"
    )
}

const BACKEND: &str = "app: webapp, role: backend";
const FRONTEND: &str = "app: webapp, role: frontend";
const ANY_NAMESPACE: &str = "[{from: [{namespaceSelector: {}, \
     podSelector: {matchLabels: {app: webapp, role: frontend}}}]}]";
const ONE_NAMESPACE: &str = "[{from: [{namespaceSelector: {matchLabels: {purpose: development}}, \
     podSelector: {matchLabels: {app: webapp, role: frontend}}}]}]";

#[test]
fn s3_a_backend_is_open_to_one_label_in_one_namespace() {
    play("s3", &manifests(), |lab, _| one_label_in_one_namespace(lab));
}

pub(crate) fn manifests() -> String {
    [
        namespace("development", "purpose: development"),
        namespace("production", "purpose: production"),
        pod("development", "backend", "n1", BACKEND, "{containerPort: 80}"),
    ]
    .concat()
}

pub(crate) fn one_label_in_one_namespace(lab: &TestLab) {
    // every check is one by a fresh pod, as with `kubectl run --rm`
    let check = |why: &str, namespace: &str, labels: &str, outcome: &str| {
        for node in ["n1", "n2"] {
            let name = format!("test-{node}");
            lab.apply(&pod(namespace, &name, node, labels, ""));
            lab.expect(why, &format!("{namespace}/{name} -> development/backend:80 {outcome}"));
            lab.delete("pod", &format!("{namespace}/{name}"));
        }
    };
    check("S3.1a: no policy", "development", "", "OK");
    lab.apply(&backend_policy("[]"));
    check("S3.1b: closed", "development", "", "TIMEOUT");
    check("S3.1b: closed to the frontend too", "development", FRONTEND, "TIMEOUT");
    lab.apply(&backend_policy(ANY_NAMESPACE));
    check("S3.2a: the frontend", "development", FRONTEND, "OK");
    check("S3.2b: without its label", "development", "run: frontend", "TIMEOUT");
    check("S3.3a: the frontend of another namespace", "production", FRONTEND, "OK");
    lab.apply(&backend_policy(ONE_NAMESPACE));
    check("S3.3b: other namespaces are closed now", "production", FRONTEND, "TIMEOUT");
    check("S3.4: this one is not", "development", FRONTEND, "OK");
    lab.label("namespace", "production", &["purpose=development"]);
    check("S3 derived: the namespace is relabelled", "production", FRONTEND, "OK");
    lab.label("namespace", "production", &["purpose=production"]);
    check("S3 derived: and back", "production", FRONTEND, "TIMEOUT");
}
