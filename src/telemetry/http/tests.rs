//! What is answered over real sockets.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Says what it was made with.
struct Fake(Health);

impl Teller for Fake {
    fn health(&self) -> Pin<Box<dyn Future<Output = Health> + Send + '_>> {
        Box::pin(async { self.0.clone() })
    }

    fn metrics(&self) -> Pin<Box<dyn Future<Output = String> + Send + '_>> {
        Box::pin(async { "# EOF\n".to_owned() })
    }
}

/// Health with one check each.
fn health(live: Result<(), &str>, ready: Result<(), &str>) -> Health {
    let check = |name, outcome: Result<(), &str>| Check::new(name, outcome.map_err(str::to_owned));
    let notes = vec!["it could\nbe better".to_owned()];
    Health { live: vec![check("daemon", live)], ready: vec![check("policy", ready)], notes }
}

/// Serves at a free port of this host; ends when the token is cancelled.
async fn served(health: Health) -> (SocketAddr, CancellationToken) {
    let (listeners, problems) = bind(&["127.0.0.1:0".parse().unwrap()]).await;
    assert_eq!(problems, [""; 0]);
    let address = listeners[0].local_addr().unwrap();
    let shutdown = CancellationToken::new();
    tokio::spawn(serve(listeners, Arc::new(Fake(health)), shutdown.clone()));
    (address, shutdown)
}

/// The status, the head and the body of an answer.
async fn ask(address: SocketAddr, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut text));
    read.await.expect("an answer in time").unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("head and body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn each_address_answers_for_its_own_checks() {
    for (live, ready, path, status, body) in [
        (Ok(()), Ok(()), "/livez", 200, "ok\n"),
        (Ok(()), Err("no ipset"), "/livez", 200, "ok\n"),
        (Ok(()), Err("no ipset"), "/readyz", 503, "[-]policy failed: no ipset\nnot ok\n"),
        (Err("silent"), Ok(()), "/livez", 503, "[-]daemon failed: silent\nnot ok\n"),
        (Err("silent"), Ok(()), "/readyz", 200, "ok\n"),
        (Ok(()), Ok(()), "/healthz", 200, "ok\n"),
        (
            Ok(()),
            Ok(()),
            "/healthz?verbose",
            200,
            "[+]daemon ok\n[+]policy ok\n[!]it could be better\nok\n",
        ),
        (
            Err("silent"),
            Err("x\ny"),
            "/healthz",
            503,
            "[-]daemon failed: silent\n[-]policy failed: x y\nnot ok\n",
        ),
    ] {
        let (address, shutdown) = served(health(live, ready)).await;
        let (got, _, text) = ask(address, path).await;
        assert_eq!((got, text.as_str()), (status, body), "{path} {live:?} {ready:?}");
        shutdown.cancel();
    }
}

#[tokio::test]
async fn metrics_say_what_they_are_and_other_addresses_what_there_is() {
    let (address, _shutdown) = served(Health::default()).await;
    let (status, head, body) = ask(address, "/metrics").await;
    assert_eq!((status, body.as_str()), (200, "# EOF\n"));
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    let (status, _, body) = ask(address, "/debug").await;
    assert_eq!((status, body.contains("/livez")), (404, true));
}

#[tokio::test]
async fn a_port_that_is_taken_keeps_the_others_from_nothing() {
    let (taken, _) = bind(&["127.0.0.1:0".parse().unwrap()]).await;
    let address = taken[0].local_addr().unwrap();
    let (listeners, problems) = bind(&[address, "127.0.0.1:0".parse().unwrap()]).await;
    assert_eq!(listeners.len(), 1);
    let want =
        format!("health and metrics are not answered at {address}: another program listens there");
    assert_eq!(problems, [want]);
}

#[tokio::test]
async fn who_connects_and_says_nothing_keeps_nobody_out_for_long() {
    let (address, _shutdown) = served(Health::default()).await;
    let mut silent = Vec::new();
    for _ in 0..LIMITS.connections {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    // The silent ones are closed after a while, and there is room again.
    let deadline = tokio::time::Instant::now() + LIMITS.connection * 3;
    loop {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        if text.starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "still shut out");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
