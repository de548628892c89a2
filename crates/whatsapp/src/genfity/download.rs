//! `POST /chat/download…` (wa-server contract 7.3): a file in base64 inside of JSON, decoded while it comes.

use std::time::Duration;

use bytes::Bytes;
use domain::message::MediaKind;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use reqwest::{Client, Response, StatusCode, redirect};
use url::Url;

use super::http::send;
use super::outbound::{Endpoint, InvalidEndpoint};
use super::wire;
use crate::answer::asked_wait;
use crate::base64_stream::Decoder;
use crate::credentials::SessionToken;
use crate::download::{DownloadError, DownloadMedia, FileBytes, HeldFile, WantedFile};

/// Longest silence: the server fetches and decrypts the whole file before it says its first word.
const SILENCE: Duration = Duration::from_secs(120);
/// Longest beginning of a data URL, up to its comma.
const MAX_HEAD: usize = 256;
/// Most bytes read of a refusal.
const MAX_REFUSAL: usize = 4 * 1024;

/// Fetches files through one server. Cheap to clone; one per endpoint, for its connections are shared.
#[derive(Debug, Clone)]
pub struct GenfityDownloads {
    http: Client,
    base: Endpoint,
}

impl GenfityDownloads {
    /// Builds the client. No proxy from the environment and no redirects: the token goes to this server only.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when TLS is not set up.
    pub fn new(endpoint: &Endpoint) -> Result<Self, InvalidEndpoint> {
        let http = Client::builder()
            .connect_timeout(endpoint.connect_timeout())
            .read_timeout(SILENCE)
            .pool_idle_timeout(Duration::from_secs(60))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(InvalidEndpoint::Client)?;
        Ok(Self {
            http,
            base: endpoint.clone(),
        })
    }

    fn route(&self, kind: MediaKind) -> Result<Url, DownloadError> {
        let route = match kind {
            MediaKind::Image => "downloadimage",
            MediaKind::Video => "downloadvideo",
            MediaKind::Audio | MediaKind::Voice => "downloadaudio",
            MediaKind::Document => "downloaddocument",
            MediaKind::Sticker => "downloadsticker",
        };
        self.base
            .address(&["chat", route])
            .map_err(|_| DownloadError::Never {
                reason: "not_sendable",
            })
    }

    async fn fetch(&self, token: &SessionToken, file: &WantedFile) -> Result<FileBytes, DownloadError> {
        let header = token.to_header().ok_or(DownloadError::Never {
            reason: "not_sendable",
        })?;
        let HeldFile::Keys(keys) = &file.held else {
            return Err(DownloadError::Never {
                reason: "not_sendable",
            });
        };
        let body = wire::Download {
            url: keys.url.as_deref(),
            direct_path: keys.direct_path.as_deref(),
            media_key: &keys.media_key,
            mimetype: mimetype(file),
            file_enc_sha256: keys.file_enc_sha256.as_deref(),
            file_sha256: keys.file_sha256.as_deref(),
            file_length: keys.file_length,
        };
        let request = self
            .http
            .post(self.route(file.kind)?)
            .header("token", header)
            .json(&body);
        let response = send("gateway download", request)
            .await
            .map_err(|error| broken(&error))?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        Ok(decoded(response))
    }
}

impl DownloadMedia for GenfityDownloads {
    fn download<'a>(
        &'a self,
        token: &'a SessionToken,
        file: &'a WantedFile,
    ) -> BoxFuture<'a, Result<FileBytes, DownloadError>> {
        self.fetch(token, file).boxed()
    }
}

/// A declared type with one slash, or one that fits the kind: the server panics over any other.
fn mimetype(file: &WantedFile) -> &str {
    let declared = file.mime_type.as_ref().map(domain::text::Text::as_str);
    declared
        .filter(|declared| declared.matches('/').count() == 1)
        .unwrap_or(match file.kind {
            MediaKind::Image => "image/jpeg",
            MediaKind::Video => "video/mp4",
            MediaKind::Audio | MediaKind::Voice => "audio/ogg",
            MediaKind::Document => "application/octet-stream",
            MediaKind::Sticker => "image/webp",
        })
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

/// Asking for a file changes nothing, so everything that can pass is waited for. A lost or expired file is a 500 with
/// a text of the library's: told apart from a bad moment only by trying again.
async fn refusal(mut response: Response) -> DownloadError {
    let status = response.status();
    let after = asked_wait(response.headers(), chrono::Utc::now());
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_REFUSAL {
            break;
        }
    }
    let answer: wire::Answer<'_> = serde_json::from_slice(&bytes).unwrap_or_default();
    let later = |reason| DownloadError::Later { reason, after };
    match status {
        StatusCode::UNAUTHORIZED => later("unauthorized"),
        StatusCode::FORBIDDEN => later("forbidden"),
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => later("timeout"),
        StatusCode::TOO_MANY_REQUESTS => later("rate_limited"),
        StatusCode::INTERNAL_SERVER_ERROR if answer.error.text() == Some("no session") => later("no_session"),
        StatusCode::INTERNAL_SERVER_ERROR => later("provider_failed"),
        StatusCode::NOT_FOUND => DownloadError::Never {
            reason: "provider_has_no_route",
        },
        _ if status.is_client_error() => DownloadError::Never {
            reason: "provider_refused",
        },
        _ if status.is_redirection() => DownloadError::Never { reason: "redirected" },
        _ => later("unavailable"),
    }
}

fn decoded(response: Response) -> FileBytes {
    let state = (response, DataField::default());
    stream::try_unfold(state, |(mut response, mut field)| async move {
        loop {
            let chunk = response.chunk().await.map_err(|error| broken(&error))?;
            let Some(chunk) = chunk else {
                return if field.is_whole() {
                    Ok(None)
                } else {
                    Err(DownloadError::later("unreadable_answer"))
                };
            };
            let mut bytes = Vec::with_capacity(chunk.len());
            field
                .feed(&chunk, &mut bytes)
                .map_err(|Unreadable| DownloadError::later("unreadable_answer"))?;
            if !bytes.is_empty() {
                return Ok(Some((Bytes::from(bytes), (response, field))));
            }
        }
    })
    .boxed()
}

/// The answer is no JSON with a file in it.
#[derive(Debug, PartialEq, Eq)]
struct Unreadable;

/// Finds the text under the key `Data`, wherever in the answer it stands, and decodes it.
#[derive(Debug, Default)]
struct DataField {
    place: Place,
    /// The string that ended last, if it could be the key.
    last: Vec<u8>,
    head: Vec<u8>,
    decoder: Decoder,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Between strings.
    #[default]
    Outside,
    /// Behind the key and its colon.
    BeforeValue,
    /// In some other string.
    Text { escaped: bool },
    /// In the file's text, before the comma of the data URL.
    Head,
    /// In the file's base64.
    File,
    /// In an escape of the file's base64, with the hexadecimal digits of a `\u` so far.
    Escape { digits: Option<(u8, u32)> },
    /// Behind it.
    Done,
}

impl DataField {
    const fn is_whole(&self) -> bool {
        matches!(self.place, Place::Done)
    }

    fn feed(&mut self, mut chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
        while let Some((&byte, rest)) = chunk.split_first() {
            if self.place == Place::File {
                let end = chunk.iter().position(|b| matches!(b, b'"' | b'\\'));
                let (piece, rest) = chunk.split_at(end.unwrap_or(chunk.len()));
                self.decoder.feed(piece, out).map_err(|_| Unreadable)?;
                if let Some(mark) = rest.first() {
                    if *mark == b'"' {
                        self.decoder.finish(out).map_err(|_| Unreadable)?;
                        self.place = Place::Done;
                    } else {
                        self.place = Place::Escape { digits: None };
                    }
                }
                chunk = rest.get(1..).unwrap_or_default();
                continue;
            }
            self.place = self.step(byte, out)?;
            chunk = rest;
        }
        Ok(())
    }

    fn step(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<Place, Unreadable> {
        Ok(match (self.place, byte) {
            (Place::Outside, b'"') => {
                self.last.clear();
                Place::Text { escaped: false }
            }
            (Place::Outside, b':') if self.last == b"Data" => Place::BeforeValue,
            (Place::BeforeValue, b'"') => Place::Head,
            (Place::BeforeValue, b' ' | b'\n' | b'\r' | b'\t') => Place::BeforeValue,
            (Place::BeforeValue, _) => return Err(Unreadable),
            (Place::Text { escaped: false }, b'"') => Place::Outside,
            (Place::Text { escaped: false }, b'\\') => Place::Text { escaped: true },
            (Place::Text { .. }, byte) => {
                // One byte more than the key is enough to know that it is not it.
                if self.last.len() <= b"Data".len() {
                    self.last.push(byte);
                }
                Place::Text { escaped: false }
            }
            (Place::Head, b',') if self.head.starts_with(b"data:") && self.head.ends_with(b";base64") => {
                Place::File
            }
            (Place::Head, b'"' | b'\\' | b',') => return Err(Unreadable),
            (Place::Head, _) if self.head.len() >= MAX_HEAD => return Err(Unreadable),
            (Place::Head, byte) => {
                self.head.push(byte);
                Place::Head
            }
            (Place::Escape { digits: None }, b'u') => Place::Escape { digits: Some((0, 0)) },
            (Place::Escape { digits: None }, b'/') => self.escaped(b'/', out)?,
            (
                Place::Escape {
                    digits: Some((count, value)),
                },
                digit,
            ) => {
                let digit = char::from(digit).to_digit(16).ok_or(Unreadable)?;
                let value = value * 16 + digit;
                if count < 3 {
                    Place::Escape {
                        digits: Some((count + 1, value)),
                    }
                } else {
                    self.escaped(u8::try_from(value).map_err(|_| Unreadable)?, out)?
                }
            }
            (Place::Escape { .. }, _) => return Err(Unreadable),
            (place, _) => place,
        })
    }

    fn escaped(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<Place, Unreadable> {
        self.decoder.feed(&[byte], out).map_err(|_| Unreadable)?;
        Ok(Place::File)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &str, piece: usize) -> Result<Option<Vec<u8>>, Unreadable> {
        let (mut field, mut out) = (DataField::default(), Vec::new());
        for piece in answer.as_bytes().chunks(piece) {
            field.feed(piece, &mut out)?;
        }
        Ok(field.is_whole().then_some(out))
    }

    #[test]
    fn the_file_is_found_wherever_the_answer_is_cut() {
        for answer in [
            r#"{"code":200,"data":{"Mimetype":"image/jpeg","Data":"data:image/jpeg;base64,Zm9v+/+/"},"success":true}"#,
            r#"{"data":{"Data" : "data:audio/ogg; codecs=opus;base64,Zm9v\u002b\/\u002B/","Mimetype":"Data"}}"#,
            r#"{"x":"\"Data\":\"","Datas":"no","data":{"Data":"data:a/b;base64,Zm9v+/+/"}}"#,
        ] {
            for piece in [1, 2, 3, 5, 8, 1000] {
                let file = read(answer, piece).unwrap().unwrap();
                assert_eq!(file, b"foo\xfb\xff\xbf", "{answer} by {piece}");
            }
        }
    }

    #[test]
    fn half_an_answer_and_another_one_are_no_file() {
        assert_eq!(read(r#"{"data":{"Data":"data:a/b;base64,Zm9v"#, 7), Ok(None));
        assert_eq!(read(r#"{"code":200,"data":{"Media":"Zm9v"}}"#, 7), Ok(None));
        assert_eq!(read("<html>", 7), Ok(None));
        for wrong in [
            r#"{"Data":"Zm9v"}"#,
            r#"{"Data":7}"#,
            r#"{"Data":"data:a/b;base64,Zm9v*"}"#,
            r#"{"Data":"data:a/b;base64,Zm9vY"}"#,
            r#"{"Data":"data:a/b;base64,Zm9v\n"}"#,
            r#"{"Data":"data:a/b;base64,Zm9v\u1234"}"#,
        ] {
            assert_eq!(read(wrong, 7), Err(Unreadable), "{wrong}");
        }
    }
}
