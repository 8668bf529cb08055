//! All objects of a kind: page by page, or all at once where pages go stale.

use kube::Client;
use kube::api::ListParams;
use kube::core::Request;
use tokio::time::timeout;

use super::super::client::REQUEST;
use super::super::trouble::{Cause, Trouble, Verb};
use super::super::wire::{self, Page};
use super::Watcher;
use crate::cluster::typed::Reading;

/// Objects of a page.
const PAGE: u32 = 500;
/// The first version whose servers stream lists.
const STREAMS_SINCE: (u32, u32) = (1, 34);

impl Watcher {
    /// Whether the server streams lists: it is asked once.
    pub(super) async fn streams(&mut self, client: &Client) -> bool {
        if let Some(streams) = self.streams {
            return streams;
        }
        let Ok(Ok(version)) = timeout(REQUEST, client.apiserver_version()).await else {
            // It has other troubles, or keeps its version to itself.
            return false;
        };
        let streams = has_streams(&version.major, &version.minor);
        self.streams = Some(streams);
        streams
    }

    /// Everything that there is, page by page, and from where to watch.
    pub(super) async fn list(
        &mut self,
        client: &Client,
    ) -> Result<(String, Vec<Reading>), Trouble> {
        let mut readings = Vec::new();
        let mut rest = None;
        loop {
            let limit = (!self.whole).then_some(PAGE);
            let page = match self.page(client, limit, rest.take()).await {
                Ok(page) => page,
                Err(trouble) => {
                    // The pages of a list are forgotten after some minutes.
                    self.whole = trouble.cause == Cause::Gone && !readings.is_empty();
                    return Err(trouble);
                }
            };
            readings.extend(
                page.readings.into_iter().filter(|reading| !self.is_copy(reading.key.as_ref())),
            );
            rest = page.rest;
            if rest.is_none() {
                self.whole = false;
                return Ok((page.version, readings));
            }
        }
    }

    async fn page(
        &self,
        client: &Client,
        limit: Option<u32>,
        rest: Option<String>,
    ) -> Result<Page, Trouble> {
        let (kind, place) = (self.kind, self.place);
        let parameters = ListParams {
            limit,
            continue_token: rest,
            field_selector: self.selector(),
            ..ListParams::default()
        };
        let request = Request::new(self.path()).list(&parameters);
        let request = request.map_err(|error| self.invalid(Verb::List, &error.to_string()))?;
        let text = timeout(REQUEST, client.request_text(request));
        let text = text.await.map_err(|_| {
            let why = format!("no answer for {} s", REQUEST.as_secs());
            Trouble::new(Cause::Timeout, Verb::List, place, &why)
        })?;
        let text = text.map_err(|error| Trouble::of(&error, Verb::List, place))?;
        // Parsing takes a while: not on a thread that others wait for.
        let page = tokio::task::spawn_blocking(move || wire::page(kind, &text)).await;
        let page = page.map_err(|error| self.invalid(Verb::List, &error.to_string()))?;
        page.map_err(|why| self.invalid(Verb::List, &why))
    }
}

/// Whether a server of this version streams lists. (Some put letters behind the number.)
fn has_streams(major: &str, minor: &str) -> bool {
    let number = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text.get(..end).and_then(|digits| digits.parse::<u32>().ok())
    };
    number(major).zip(number(minor)).is_some_and(|version| version >= STREAMS_SINCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_servers_stream_lists() {
        for (major, minor, want) in [
            ("1", "20", false),
            ("1", "33", false),
            ("1", "34", true),
            ("1", "35+", true),
            ("1", "33-gke.1", false),
            ("2", "0", true),
            ("", "", false),
            ("1", "x", false),
        ] {
            assert_eq!(has_streams(major, minor), want, "{major}.{minor}");
        }
    }
}
