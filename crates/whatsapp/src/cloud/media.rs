//! Files at Meta: an id is asked for an address, the address for the bytes; and what goes out is put up first (Cloud API
//! contract 4.1).

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use domain::message::{GraphFile, MediaId, MediaKind, Sha256};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use reqwest::{Method, Response, StatusCode, multipart};
use serde::Deserialize;
use sha2::{Digest as _, Sha256 as Hasher};
use url::Url;

use super::class::ErrorClass;
use super::endpoint::{GraphEndpoint, NumberCredentials};
use super::http::{self, Body, Call, GraphFailure, Http, Refusal};
use super::media_type::{Described, describe};
use crate::answer::asked_wait;
use crate::credentials::SessionToken;
use crate::download::{DownloadError, DownloadMedia, FileBytes, HeldFile, WantedFile};
use crate::genfity::InvalidEndpoint;
use crate::loose::Loose;
use crate::port::{OperatorText, time_for_file};

/// Longest silence while a file comes.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest wait for a file's address, or for its removal.
const SHORT: Duration = Duration::from_secs(10);
/// Most bytes of a file that comes in.
const MOST_BYTES: u64 = 100 * 1024 * 1024;
/// How long a file that was put up can be used: thirty days at Meta, and one for clocks and queues.
const USABLE_DAYS: i64 = 29;

/// Files of one endpoint. Cheap to clone; its connections are shared.
#[derive(Debug, Clone)]
pub struct GraphMedia {
    http: Http,
    patient: Http,
}

/// A file that is to be put up. `Debug` shows neither its bytes nor its name.
#[derive(Clone)]
pub struct NewFile {
    bytes: Bytes,
    described: Described,
}

impl fmt::Debug for NewFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewFile({} bytes)", self.bytes.len())
    }
}

/// A file that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedMedia {
    id: MediaId,
    usable_until: DateTime<Utc>,
}

/// What Meta tells of a file.
#[derive(Clone)]
pub struct MediaInfo {
    /// Where its bytes are, for five minutes. May be fetched with the token: it is on a host that is allowed.
    url: Url,
    /// Its type, as Meta has it.
    pub mime_type: Option<String>,
    /// What its bytes hash to.
    pub sha256: Option<Sha256>,
    /// How large it is.
    pub size: Option<u64>,
}

// The address opens the file.
impl fmt::Debug for MediaInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MediaInfo")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct InfoWords<'a> {
    #[serde(borrow)]
    url: Loose<'a>,
    #[serde(borrow)]
    mime_type: Loose<'a>,
    #[serde(borrow)]
    sha256: Loose<'a>,
    #[serde(borrow)]
    file_size: Loose<'a>,
}

#[derive(Deserialize)]
struct UploadAnswer {
    id: MediaId,
}

impl NewFile {
    /// A file with what is known about it.
    #[must_use]
    pub fn new(kind: MediaKind, bytes: Bytes, mime_type: Option<&str>, file_name: Option<&str>) -> Self {
        Self {
            bytes,
            described: describe(kind, mime_type, file_name),
        }
    }

    pub(super) fn sha256(&self) -> [u8; 32] {
        Hasher::digest(&self.bytes).into()
    }

    /// What Meta keeps beside the bytes.
    pub(super) fn described(&self) -> String {
        format!("{}\n{}", self.described.mime_type, self.described.file_name)
    }
}

impl UploadedMedia {
    /// What a message calls it.
    #[must_use]
    pub const fn id(&self) -> &MediaId {
        &self.id
    }

    /// Until when a message may.
    #[must_use]
    pub const fn usable_until(&self) -> DateTime<Utc> {
        self.usable_until
    }

    /// May a message that goes out now call it?
    #[must_use]
    pub fn is_usable(&self, now: DateTime<Utc>) -> bool {
        now < self.usable_until
    }
}

impl GraphMedia {
    /// Prepares a client; nothing is dialled yet.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when the base URL cannot be extended or TLS is not set up.
    pub fn new(endpoint: &GraphEndpoint) -> Result<Self, InvalidEndpoint> {
        Ok(Self {
            http: Http::new(endpoint)?,
            patient: Http::patient(endpoint, SILENCE)?,
        })
    }

    /// Puts a file up.
    ///
    /// # Errors
    /// [`GraphFailure`]. Nothing is sent to anybody, so it may be tried again.
    pub async fn upload(
        &self,
        credentials: &NumberCredentials,
        file: NewFile,
    ) -> Result<UploadedMedia, GraphFailure> {
        let time = self.http.endpoint.total_timeout() + time_for_file(file.bytes.len());
        let length = u64::try_from(file.bytes.len()).map_err(|_| GraphFailure::Unsendable)?;
        let Described { mime_type, file_name } = file.described;
        let part = multipart::Part::stream_with_length(reqwest::Body::from(file.bytes), length)
            .file_name(file_name)
            .mime_str(&mime_type)
            .map_err(|_| GraphFailure::Unsendable)?;
        let form = multipart::Form::new()
            .text("messaging_product", "whatsapp")
            .text("type", mime_type)
            .part("file", part);
        let begun = Utc::now();
        let answer: UploadAnswer = self
            .http
            .ask(Call {
                method: Method::POST,
                path: &[credentials.number().as_str(), "media"],
                query: &[],
                body: Body::Form(form),
                bearer: credentials.bearer(&self.http.endpoint),
                timeout: time,
            })
            .await?;
        Ok(UploadedMedia {
            id: answer.id,
            usable_until: begun + TimeDelta::days(USABLE_DAYS),
        })
    }

    /// Takes a file away that was put up.
    ///
    /// # Errors
    /// [`GraphFailure`].
    pub async fn remove(&self, credentials: &NumberCredentials, id: &MediaId) -> Result<(), GraphFailure> {
        self.about(Method::DELETE, credentials, id).await.map(|_| ())
    }

    /// Asks where a file is. The address lives for five minutes: it is used at once and never kept.
    ///
    /// # Errors
    /// [`GraphFailure`]; an address that may not have the token is an unreadable answer.
    pub async fn resolve(
        &self,
        credentials: &NumberCredentials,
        id: &MediaId,
    ) -> Result<MediaInfo, GraphFailure> {
        let unreadable = |why| GraphFailure::Unreadable(OperatorText::of_library(why));
        let body = self.about(Method::GET, credentials, id).await?;
        let words: InfoWords<'_> =
            serde_json::from_slice(&body).map_err(|_| unreadable("it is no JSON object"))?;
        let url = words.url.filled().and_then(|url| Url::parse(url).ok());
        let url = url.ok_or_else(|| unreadable("it names no address"))?;
        Ok(MediaInfo {
            url,
            mime_type: words.mime_type.filled().map(str::to_owned),
            sha256: words.sha256.filled().and_then(|text| Sha256::parse(text).ok()),
            size: words.file_size.size(),
        })
    }

    async fn about(
        &self,
        method: Method,
        credentials: &NumberCredentials,
        id: &MediaId,
    ) -> Result<Vec<u8>, GraphFailure> {
        // Files of other numbers are refused.
        let query = [("phone_number_id", credentials.number().as_str())];
        self.http
            .call(Call {
                method,
                path: &[id.as_str()],
                query: &query,
                body: Body::None,
                bearer: credentials.bearer(&self.http.endpoint),
                timeout: SHORT,
            })
            .await
    }

    async fn fetch(&self, token: &SessionToken, wanted: &WantedFile) -> Result<FileBytes, DownloadError> {
        let HeldFile::Graph(file) = &wanted.held else {
            return Err(never("not_sendable"));
        };
        let credentials = NumberCredentials::parse(token).ok_or(never("not_sendable"))?;
        match self.fetch_once(&credentials, file).await {
            // Addresses end after minutes, and Meta says no more than that there is nothing.
            Err(DownloadError::Never {
                reason: "not_on_server",
            }) => self.fetch_once(&credentials, file).await,
            fetched => fetched,
        }
    }

    async fn fetch_once(
        &self,
        credentials: &NumberCredentials,
        file: &GraphFile,
    ) -> Result<FileBytes, DownloadError> {
        let info = self
            .resolve(credentials, &file.id)
            .await
            .map_err(|failure| broken(&failure))?;
        if info.size.is_some_and(|size| size > MOST_BYTES) {
            return Err(never("too_large"));
        }
        if !self.http.endpoint.may_fetch(&info.url) {
            return Err(never("path_refused"));
        }
        let bearer = credentials.bearer(&self.http.endpoint);
        let request = self
            .patient
            .request(Method::GET, info.url, bearer)
            .ok_or(never("not_sendable"))?;
        let response = request
            .send()
            .await
            .map_err(|error| broken(&http::no_answer(&error, bearer)))?;
        match response.status() {
            StatusCode::OK => Ok(checked(response, file.sha256.or(info.sha256))),
            status => Err(refusal(status, &response)),
        }
    }
}

impl DownloadMedia for GraphMedia {
    fn download<'a>(
        &'a self,
        token: &'a SessionToken,
        file: &'a WantedFile,
    ) -> BoxFuture<'a, Result<FileBytes, DownloadError>> {
        self.fetch(token, file).boxed()
    }
}

/// What has come so far of a file.
struct Coming {
    bytes: stream::BoxStream<'static, Result<Bytes, DownloadError>>,
    hasher: Hasher,
    expected: Option<Sha256>,
    length: u64,
}

/// The bytes of an answer, counted and hashed while they come: the stream ends without an error only when they are
/// what was told of.
fn checked(response: Response, expected: Option<Sha256>) -> FileBytes {
    let bytes = response.bytes_stream();
    let coming = Coming {
        bytes: bytes
            .map_err(|error| {
                DownloadError::later(if error.is_timeout() {
                    "timeout"
                } else {
                    "connection_cut"
                })
            })
            .boxed(),
        hasher: Hasher::new(),
        expected,
        length: 0,
    };
    stream::try_unfold(coming, |mut coming| async move {
        if let Some(chunk) = coming.bytes.try_next().await? {
            coming.length += chunk.len() as u64;
            if coming.length > MOST_BYTES {
                return Err(never("too_large"));
            }
            coming.hasher.update(&chunk);
            return Ok(Some((chunk, coming)));
        }
        let hash: [u8; 32] = coming.hasher.finalize().into();
        match coming.expected {
            Some(expected) if *expected.as_bytes() != hash => Err(DownloadError::later("hash_mismatch")),
            _ => Ok(None),
        }
    })
    .boxed()
}

const fn never(reason: &'static str) -> DownloadError {
    DownloadError::Never { reason }
}

fn broken(failure: &GraphFailure) -> DownloadError {
    match failure {
        GraphFailure::Unreachable(_) => DownloadError::later("unreachable"),
        GraphFailure::NoAnswer { timeout: true, .. } => DownloadError::later("timeout"),
        GraphFailure::NoAnswer { timeout: false, .. } => DownloadError::later("connection_cut"),
        GraphFailure::Unreadable(_) => DownloadError::later("unreadable_answer"),
        GraphFailure::Unsendable => never("not_sendable"),
        GraphFailure::Refused(refusal) => refused(refusal),
    }
}

fn refused(refusal: &Refusal) -> DownloadError {
    let later = |reason| DownloadError::Later {
        reason,
        after: refusal.after,
    };
    match (refusal.class, refusal.code, refusal.status) {
        (ErrorClass::Auth, ..) => later("unauthorized"),
        (ErrorClass::Permission, ..) => later("forbidden"),
        (ErrorClass::Rate(_) | ErrorClass::Pair | ErrorClass::Spam, ..) => later("rate_limited"),
        (ErrorClass::Transient { .. }, Some(_), _) | (_, None, 500) => later("provider_failed"),
        (_, None, 403) => later("forbidden"),
        (_, None, 408 | 504) => later("timeout"),
        (ErrorClass::Transient { .. }, None, _) => later("unavailable"),
        (_, None, 300..=399) => never("redirected"),
        // The id is not known, or not to this number.
        (_, Some(33 | 100), _) | (_, _, 404) => never("not_on_server"),
        _ => never("provider_refused"),
    }
}

/// What the host of the bytes says. There is no body worth reading, and no code.
fn refusal(status: StatusCode, response: &Response) -> DownloadError {
    let later = |reason| DownloadError::Later {
        reason,
        after: asked_wait(response.headers(), Utc::now()),
    };
    match status.as_u16() {
        404 | 410 => never("not_on_server"),
        401 => later("unauthorized"),
        403 => later("forbidden"),
        408 | 504 => later("timeout"),
        429 => later("rate_limited"),
        500 => later("provider_failed"),
        300..=399 => never("redirected"),
        400..=499 => never("provider_refused"),
        _ => later("unavailable"),
    }
}
