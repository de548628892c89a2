//! The body of a webhook, which may hold a whole film in base64.
//!
//! Up to the limit it is read into memory, as bodies are. Above it, the raw bytes go to a file without a name, and only
//! what is around the film stays in memory: enough to know whose it is and what was said. The signature is checked, and
//! the film is decoded, from the file. So a large file costs disk and not memory, and its text is never refused for it.
//! What is in memory, of bodies of either sort, is part of the app's [`BodyBudget`].

use std::io::SeekFrom;
use std::time::Duration;

use ::web::{ApiError, BodyBudget, BodyPlace};
use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::{BytesMut, Payload};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use whatsapp::base64_stream::{Decoder, NotBase64};
use whatsapp::genfity::SignatureCheck;

use crate::error::ServiceError;

/// A caller that has not sent its body by then is holding a place for nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// Long bodies at once; one more is answered 503.
pub(crate) const LONG_AT_ONCE: usize = 4;
const PIECE: usize = 256 * 1024;

/// Bounds of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    /// Most bytes in memory.
    pub(crate) memory: usize,
    /// Most bytes at all.
    pub(crate) disk: u64,
}

impl BodyLimits {
    /// Room for the largest file that is kept, in base64 and with every character escaped that can be.
    pub(crate) const fn of(memory: usize, file: u64) -> Self {
        Self {
            memory,
            disk: file.saturating_mul(2).saturating_add(memory as u64),
        }
    }
}

/// A body as it was read.
pub(crate) enum Body {
    /// It is in memory.
    Short(Bytes),
    /// It is in a file.
    Long(LongBody),
}

/// A body that is too large for memory.
pub(crate) struct LongBody {
    /// The body with the text of the film taken out.
    pub(crate) rest: Bytes,
    raw: File,
    /// Where in the raw bytes the film's text is.
    film: std::ops::Range<u64>,
    form: bool,
    _place: OwnedSemaphorePermit,
}

/// Reads a body.
pub(crate) async fn read(
    request: &HttpRequest,
    payload: Payload,
    limits: BodyLimits,
    places: &std::sync::Arc<Semaphore>,
) -> Result<Body, ServiceError> {
    tokio::time::timeout(PATIENCE, read_all(request, payload, limits, places))
        .await
        .unwrap_or_else(|_| {
            Err(ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                "body_too_slow",
                "The request body took too long",
            )
            .into())
        })
}

async fn read_all(
    request: &HttpRequest,
    mut payload: Payload,
    limits: BodyLimits,
    places: &std::sync::Arc<Semaphore>,
) -> Result<Body, ServiceError> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let announced: Option<u64> = header(CONTENT_LENGTH).and_then(|length| length.parse().ok());
    if announced.is_some_and(|length| length > limits.disk) {
        return Err(ApiError::too_large().into());
    }
    let form = header(actix_web::http::header::CONTENT_TYPE).is_some_and(|kind| {
        kind.trim_start()
            .to_ascii_lowercase()
            .starts_with("application/x-www-form-urlencoded")
    });
    let budget = BodyBudget::of_app(request);
    let mut body = BytesMut::with_capacity(announced.map_or(0, |length| length.min(64 * 1024) as usize));
    let mut room = BodyPlace::default();
    let mut long: Option<Spool> = None;
    while let Some(chunk) = payload.next().await {
        let chunk =
            chunk.map_err(|_| ApiError::bad_request("body_cut_off", "The request body ended early"))?;
        if let Some(spool) = &mut long {
            spool.take(&chunk, limits, budget).await?;
        } else if body.len() + chunk.len() <= limits.memory
            && announced.is_none_or(|length| length <= limits.memory as u64)
        {
            room.grow(budget, chunk.len())?;
            body.extend_from_slice(&chunk);
        } else {
            let place = places
                .clone()
                .try_acquire_owned()
                .map_err(|_| ServiceError::Overloaded)?;
            let mut spool = Spool::new(form, place).await?;
            spool.take(&body, limits, budget).await?;
            // What was in memory is on the disk now; what stays of it, the spool has counted.
            (body, room) = (BytesMut::new(), BodyPlace::default());
            spool.take(&chunk, limits, budget).await?;
            long = Some(spool);
        }
    }
    match long {
        None => Ok(Body::Short(room.hold(body))),
        Some(spool) => spool.finish().await.map(Body::Long),
    }
}

impl LongBody {
    /// Has the check see every raw byte.
    pub(crate) async fn sign(&mut self, check: &mut SignatureCheck) -> Result<(), ServiceError> {
        self.raw
            .seek(SeekFrom::Start(0))
            .await
            .map_err(|error| no_disk(&error))?;
        let mut piece = vec![0; PIECE];
        loop {
            match self.raw.read(&mut piece).await.map_err(|error| no_disk(&error))? {
                0 => return Ok(()),
                length => check.update(&piece[..length]),
            }
        }
    }

    /// The film's bytes. `None`: there was none.
    pub(crate) fn film(&mut self) -> Option<BoxStream<'_, Result<Bytes, NotBase64>>> {
        if self.film.is_empty() {
            return None;
        }
        let reading = Reading {
            at: self.film.start,
            end: self.film.end,
            decoder: Decoder::default(),
            escape: self.form.then(Escape::default),
            raw: &mut self.raw,
        };
        Some(
            stream::try_unfold(reading, |mut reading| async move {
                Ok(reading.next().await?.map(|bytes| (bytes, reading)))
            })
            .boxed(),
        )
    }
}

/// A body on its way to the disk.
struct Spool {
    raw: File,
    length: u64,
    cut: Cut,
    /// For what stays in memory.
    room: BodyPlace,
    form: bool,
    place: OwnedSemaphorePermit,
}

impl Spool {
    async fn new(form: bool, place: OwnedSemaphorePermit) -> Result<Self, ServiceError> {
        let made = tokio::task::spawn_blocking(tempfile::tempfile).await;
        let raw = made.map_err(std::io::Error::other).and_then(|made| made);
        Ok(Self {
            raw: File::from_std(raw.map_err(|error| no_disk(&error))?),
            length: 0,
            cut: Cut::new(form),
            room: BodyPlace::default(),
            form,
            place,
        })
    }

    async fn take(
        &mut self,
        chunk: &[u8],
        limits: BodyLimits,
        budget: &BodyBudget,
    ) -> Result<(), ServiceError> {
        self.length += chunk.len() as u64;
        let kept = self.cut.rest.len();
        self.cut.feed(chunk);
        if self.length > limits.disk || self.cut.rest.len() > limits.memory {
            return Err(ApiError::too_large().into());
        }
        self.room.grow(budget, self.cut.rest.len() - kept)?;
        self.raw.write_all(chunk).await.map_err(|error| no_disk(&error))
    }

    async fn finish(mut self) -> Result<LongBody, ServiceError> {
        self.raw.flush().await.map_err(|error| no_disk(&error))?;
        metrics::counter!("kanal_webhooks_long_total").increment(1);
        Ok(LongBody {
            rest: self.room.hold(self.cut.rest),
            raw: self.raw,
            film: self.cut.film,
            form: self.form,
            _place: self.place,
        })
    }
}

/// Without room on the disk the provider has to come again.
fn no_disk(error: &std::io::Error) -> ServiceError {
    tracing::error!(%error, "a large webhook cannot be put aside");
    ServiceError::Overloaded
}

/// Takes the film's text out of a body. It looks for the key as the server writes it; inside of a JSON text the same
/// characters would stand behind backslashes, so no words of a person are ever taken for it.
struct Cut {
    key: &'static [u8],
    end: &'static [u8],
    place: Place,
    /// Bytes of the key, or of the end, that were seen in a row.
    seen: usize,
    at: u64,
    film: std::ops::Range<u64>,
    rest: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    Inside,
    Behind,
}

impl Cut {
    fn new(form: bool) -> Self {
        let (key, end): (&[u8], &[u8]) = if form {
            (b"%22base64%22%3A%22", b"%22")
        } else {
            (b"\"base64\":\"", b"\"")
        };
        Self {
            key,
            end,
            place: Place::Before,
            seen: 0,
            at: 0,
            film: 0..0,
            rest: Vec::new(),
        }
    }

    fn feed(&mut self, chunk: &[u8]) {
        for (index, byte) in chunk.iter().enumerate() {
            match self.place {
                Place::Behind => {
                    self.rest.extend_from_slice(&chunk[index..]);
                    break;
                }
                Place::Before => {
                    self.rest.push(*byte);
                    if self.sees(self.key, *byte) {
                        self.place = Place::Inside;
                        let start = self.at + index as u64 + 1;
                        self.film = start..start;
                    }
                }
                Place::Inside => {
                    if self.sees(self.end, *byte) {
                        self.place = Place::Behind;
                        self.film.end = self.at + index as u64 + 1 - self.end.len() as u64;
                        self.rest.extend_from_slice(self.end);
                    }
                }
            }
        }
        self.at += chunk.len() as u64;
    }

    /// Counts the byte; true when it is the last one of `wanted`.
    fn sees(&mut self, wanted: &[u8], byte: u8) -> bool {
        if wanted[self.seen] == byte {
            self.seen += 1;
        } else {
            self.seen = usize::from(wanted[0] == byte);
        }
        let whole = self.seen == wanted.len();
        if whole {
            self.seen = 0;
        }
        whole
    }
}

/// The film's text on its way out of the file.
struct Reading<'a> {
    raw: &'a mut File,
    at: u64,
    end: u64,
    decoder: Decoder,
    escape: Option<Escape>,
}

impl Reading<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, NotBase64> {
        if self.at >= self.end {
            return Ok(None);
        }
        let length = usize::try_from(self.end - self.at).unwrap_or(PIECE).min(PIECE);
        let mut text = vec![0; length];
        // The file is ours and was just written; where it cannot be read the film is as good as broken.
        self.raw
            .seek(SeekFrom::Start(self.at))
            .await
            .map_err(|_| NotBase64)?;
        self.raw.read_exact(&mut text).await.map_err(|_| NotBase64)?;
        self.at += length as u64;
        if let Some(escape) = &mut self.escape {
            text = escape.undo(&text)?;
        }
        let mut bytes = Vec::with_capacity(text.len());
        self.decoder.feed(&text, &mut bytes)?;
        if self.at >= self.end {
            self.decoder.finish(&mut bytes)?;
        }
        Ok(Some(bytes.into()))
    }
}

/// `%2B` and the like in a form, wherever the text was cut.
#[derive(Default)]
struct Escape(Vec<u8>);

impl Escape {
    fn undo(&mut self, text: &[u8]) -> Result<Vec<u8>, NotBase64> {
        let mut plain = Vec::with_capacity(text.len());
        for byte in text {
            if self.0.is_empty() && *byte != b'%' {
                plain.push(*byte);
                continue;
            }
            self.0.push(*byte);
            if let [_, high, low] = self.0[..] {
                let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(NotBase64);
                plain.push(u8::try_from(digit(high)? * 16 + digit(low)?).map_err(|_| NotBase64)?);
                self.0.clear();
            }
        }
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(form: bool, body: &str, piece: usize) -> (String, String) {
        let mut cut = Cut::new(form);
        for piece in body.as_bytes().chunks(piece) {
            cut.feed(piece);
        }
        let film = usize::try_from(cut.film.start).unwrap()..usize::try_from(cut.film.end).unwrap();
        (String::from_utf8(cut.rest).unwrap(), body[film].to_owned())
    }

    #[test]
    fn the_film_is_taken_out_and_nothing_else() {
        for piece in [1, 2, 3, 7, 1000] {
            let json = r#"{"base64":"Zm9v+/==","event":{"Message":{"conversation":"\"base64\":\"no\""}},"type":"Message"}"#;
            let (rest, film) = cut(false, json, piece);
            assert_eq!(film, "Zm9v+/==");
            assert_eq!(rest, json.replace("Zm9v+/==", ""));
            let form =
                "instanceName=a&jsonData=%7B%22base64%22%3A%22Zm9v%2B%2F%3D%3D%22%2C%22x%22%3A1%7D&userID=b";
            let (rest, film) = cut(true, form, piece);
            assert_eq!(film, "Zm9v%2B%2F%3D%3D");
            assert_eq!(rest, form.replace("Zm9v%2B%2F%3D%3D", ""));
            let none = r#"{"event":{"conversation":"\"base64\":\"words of a person\""}}"#;
            assert_eq!(cut(false, none, piece), (none.to_owned(), String::new()));
        }
    }

    #[test]
    fn escapes_are_undone_wherever_they_are_cut() {
        for piece in [1, 2, 3, 100] {
            let mut escape = Escape::default();
            let pieces = b"a%2Bb%2f%3D"
                .chunks(piece)
                .map(|piece| escape.undo(piece).unwrap());
            assert_eq!(pieces.collect::<Vec<_>>().concat(), b"a+b/=");
        }
        assert!(Escape::default().undo(b"%zz").is_err());
    }
}
