//! What an agent answers over HTTP, on the address for health and metrics.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::netns::Netns;

/// Status and body of the answer of the agent in `netns` to a request for `path`.
///
/// # Errors
/// If there is none.
pub fn get(netns: &Netns, path: &str) -> Result<(u16, String), String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let text = netns.inside(|| {
        let address = SocketAddr::from(([127, 0, 0, 1], 9798));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(request.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text)
    });
    let text = text.map_err(|error: std::io::Error| format!("{path}: {error}"))?;
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    status.zip(body).ok_or_else(|| format!("{path}: {text:?}"))
}
