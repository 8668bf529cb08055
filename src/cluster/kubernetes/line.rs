//! A way to the API server that those share who tell it something now and then.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::client::{ClientSettings, connect};

/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects when it is first asked, and anew when the server does not know us any more. Cheap
/// to clone.
#[derive(Clone)]
pub struct Line(Arc<Shared>);

struct Shared {
    settings: ClientSettings,
    client: Mutex<Option<Client>>,
    refused: Notify,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Line").field(&self.0.settings).finish()
    }
}

impl Line {
    /// To this server.
    pub fn new(settings: ClientSettings) -> Self {
        Self(Arc::new(Shared { settings, client: Mutex::default(), refused: Notify::new() }))
    }

    /// Asks something that takes no longer than ten seconds.
    ///
    /// # Errors
    /// In a sentence, if there is no way to the server, no answer in time, or another one.
    pub(super) async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(Client) -> Result<T, kube::Error>,
    ) -> Result<T, String> {
        let work = async {
            let client = self.client().await?;
            question(client).await.map_err(|error| {
                self.look_at(&error);
                error.to_string()
            })
        };
        let late = || format!("the API server did not answer within {} s", PATIENCE.as_secs());
        timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(late()))
    }

    /// Something was forbidden: our rights are to be looked at.
    pub fn refused(&self) {
        self.0.refused.notify_one();
    }

    /// Waits until something was forbidden.
    pub(super) async fn until_refused(&self) {
        self.0.refused.notified().await;
    }

    async fn client(&self) -> Result<Client, String> {
        if let Some(client) = self.kept().clone() {
            return Ok(client);
        }
        let client = connect(&self.0.settings).await.map_err(|error| error.to_string())?;
        *self.kept() = Some(client.clone());
        Ok(client)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Client>> {
        self.0.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_at(&self, error: &kube::Error) {
        match error {
            kube::Error::Api(status) if status.code == 403 => self.refused(),
            // Files of credentials may hold others by now.
            kube::Error::Api(status) if status.code == 401 => *self.kept() = None,
            kube::Error::Auth(_) => *self.kept() = None,
            _ => {}
        }
    }
}
