//! The API server that other tests use: it starts, knows its clients, and comes back with what
//! it had.

use integration_tests::ApiServer;

#[test]
fn an_api_server_keeps_its_objects_and_tokens_over_a_restart() {
    let Some(mut server) = ApiServer::start("an API server for tests") else {
        return;
    };
    server.apply(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n\
         apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: clerk, namespace: shop}\n",
    );
    let token = server.create_token("shop", "clerk");
    let clerk = server.kubeconfig_with_token("clerk", &token);
    let may = |server: &ApiServer, words: &[&str]| {
        let output = server.try_kubectl(&clerk, words, "").expect("kubectl runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let refused = may(&server, &["get", "nodes"]);
    assert!(refused.contains("system:serviceaccount:shop:clerk"), "{refused}");
    server.stop();
    let silent = may(&server, &["get", "nodes"]);
    assert!(silent.contains("refused"), "{silent}");
    server.start_again();
    let names = server.kubectl(&["get", "namespaces", "-o", "name"]);
    assert!(names.lines().any(|name| name == "namespace/shop"), "{names}");
    assert_eq!(may(&server, &["get", "nodes"]), refused, "the token is still good");
}
