//! Files of messages. The server downloads them by itself and shows them under `statics/`; one that is not there it is
//! asked to download again (chatwoot-bridge contract 4.6).

use std::time::Duration;

use domain::message::ServerFile;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use reqwest::{Method, Response, StatusCode};

use super::endpoint::GowaEndpoint;
use super::http::{Call, Http, static_path};
use super::wire;
use crate::answer::asked_wait;
use crate::credentials::SessionToken;
use crate::download::{DownloadError, DownloadMedia, FileBytes, HeldFile, WantedFile};
use crate::genfity::{CallError, InvalidEndpoint};

/// Longest silence of the server.
const SILENCE: Duration = Duration::from_secs(60);
/// How long the server may take to get a file from WhatsApp.
const FETCHING: Duration = Duration::from_secs(60);

/// Fetches files from one server and from no other. Cheap to clone; one per endpoint, for its connections are shared.
#[derive(Debug, Clone)]
pub struct GowaDownloads {
    http: Http,
}

impl GowaDownloads {
    /// Prepares a client; nothing is dialled yet.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when the base URL cannot be extended or TLS is not set up.
    pub fn new(endpoint: &GowaEndpoint) -> Result<Self, InvalidEndpoint> {
        Ok(Self {
            http: Http::patient(endpoint, SILENCE)?,
        })
    }

    async fn fetch(&self, device: &SessionToken, file: &WantedFile) -> Result<FileBytes, DownloadError> {
        let HeldFile::Server(held) = &file.held else {
            return Err(DownloadError::Never {
                reason: "not_sendable",
            });
        };
        if let Some(told) = &held.path {
            match self.read(told).await {
                // Swept from the server's folder, or never there.
                Err(DownloadError::Never {
                    reason: "not_on_server",
                }) => {}
                read => return read,
            }
        }
        let path = self.ask_again(device, held).await?;
        self.read(&path).await
    }

    async fn read(&self, told: &str) -> Result<FileBytes, DownloadError> {
        let path = static_path(told).ok_or(DownloadError::Never {
            reason: "path_refused",
        })?;
        let request = self
            .http
            .request(Method::GET, &path)
            .ok_or(DownloadError::Never {
                reason: "not_sendable",
            })?;
        let response = request.send().await.map_err(|error| broken(&error))?;
        match response.status() {
            StatusCode::OK => Ok(response.bytes_stream().map_err(|error| broken(&error)).boxed()),
            status => Err(refusal(status, &response)),
        }
    }

    /// Has the server download the file; tells where it then is.
    async fn ask_again(&self, device: &SessionToken, held: &ServerFile) -> Result<String, DownloadError> {
        let path = &["message", held.message.as_str(), "download"];
        let query = [("phone", held.chat.as_str())];
        let mut call = Call::new("GET /message/:id/download", Method::GET, path, FETCHING);
        call.query = &query;
        call.device = Some(device);
        let download: wire::Download = self.http.ask(call).await.map_err(|error| match error {
            CallError::Unreachable { .. } => DownloadError::later("unreachable"),
            CallError::NoAnswer { .. } => DownloadError::later("timeout"),
            CallError::Unreadable { .. } => DownloadError::later("unreadable_answer"),
            CallError::Credential { .. } => DownloadError::Never {
                reason: "not_sendable",
            },
            CallError::Refused { status, code, .. } => asked_in_vain(status, code.as_deref()),
        })?;
        if download.file_path.is_empty() {
            return Err(DownloadError::Never {
                reason: "not_on_server",
            });
        }
        Ok(download.file_path)
    }
}

impl DownloadMedia for GowaDownloads {
    fn download<'a>(
        &'a self,
        device: &'a SessionToken,
        file: &'a WantedFile,
    ) -> BoxFuture<'a, Result<FileBytes, DownloadError>> {
        self.fetch(device, file).boxed()
    }
}

fn broken(error: &reqwest::Error) -> DownloadError {
    if error.is_connect() {
        DownloadError::later("unreachable")
    } else if error.is_timeout() {
        DownloadError::later("timeout")
    } else {
        DownloadError::later("connection_cut")
    }
}

fn refusal(status: StatusCode, response: &Response) -> DownloadError {
    let later = |reason| DownloadError::Later {
        reason,
        after: asked_wait(response.headers(), chrono::Utc::now()),
    };
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => DownloadError::Never {
            reason: "not_on_server",
        },
        StatusCode::UNAUTHORIZED => later("unauthorized"),
        StatusCode::FORBIDDEN => later("forbidden"),
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => later("timeout"),
        StatusCode::TOO_MANY_REQUESTS => later("rate_limited"),
        StatusCode::INTERNAL_SERVER_ERROR => later("provider_failed"),
        _ if status.is_redirection() => DownloadError::Never { reason: "redirected" },
        _ if status.is_client_error() => DownloadError::Never {
            reason: "provider_refused",
        },
        _ => later("unavailable"),
    }
}

/// A file that WhatsApp has no more and a bad moment are both a 500: told apart only by trying again.
fn asked_in_vain(status: u16, code: Option<&str>) -> DownloadError {
    match (status, code) {
        (401, Some("AUTHENTICATION_ERROR")) | (_, Some("INVALID_WA_CLI")) => {
            DownloadError::later("no_session")
        }
        (401, _) | (404, Some("DEVICE_NOT_FOUND")) => DownloadError::later("unauthorized"),
        (403, _) => DownloadError::later("forbidden"),
        (408 | 504, _) => DownloadError::later("timeout"),
        (429, _) => DownloadError::later("rate_limited"),
        (500, _) => DownloadError::later("provider_failed"),
        (404, _) => DownloadError::Never {
            reason: "provider_has_no_route",
        },
        (300..=399, _) => DownloadError::Never { reason: "redirected" },
        (400..=499, _) => DownloadError::Never {
            reason: "provider_refused",
        },
        _ => DownloadError::later("unavailable"),
    }
}
