//! How a file is answered: headers that keep a browser from running it, parts of it, and copies that are still good.

use std::ops::Range;
use std::time::Duration;

use ::web::openapi::{Doc, Group, text};
use actix_web::body::SizedStream;
use actix_web::http::Method;
use actix_web::http::header::{
    self, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_SECURITY_POLICY, ETAG,
    HeaderName, HeaderValue, IF_NONE_MATCH, IF_RANGE, RANGE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use futures_util::stream;
use serde_json::json;

use crate::media::OpenFile;
use crate::media::file_type::FileType;

/// What every address of a file has in common: no key, the address itself is the right to read.
pub(super) const GROUP: Group = Group {
    tag: "Files",
    security: None,
    refusals: &[
        (404, "No such file, or no right to read it: nobody is told which"),
        (500, "Our fault"),
        (
            503,
            "Something we depend on is away; Retry-After says when to come again",
        ),
    ],
};

/// How a file is answered.
pub(super) fn doc(summary: &'static str) -> Doc {
    let bytes = || json!({"type": "string", "format": "binary"});
    conditions(summary)
        .answers_as(200, "The file", "*/*", bytes())
        .answers_as(206, "The part of it that Range names", "*/*", bytes())
        .answers_without_body(304, "The copy named by If-None-Match is still good")
        .answers_without_body(416, "Range names bytes that do not exist")
}

/// The same, without the bytes.
pub(super) fn head_doc(summary: &'static str) -> Doc {
    conditions(summary)
        .answers_without_body(200, "The file is there")
        .answers_without_body(206, "So is the part of it that Range names")
        .answers_without_body(304, "The copy named by If-None-Match is still good")
        .answers_without_body(416, "Range names bytes that do not exist")
}

fn conditions(summary: &'static str) -> Doc {
    Doc::new(summary)
        .header("Range", text(), "`bytes=a-b`, `bytes=a-` or `bytes=-n`")
        .header(
            "If-Range",
            text(),
            "the ETag of the file that the part belongs to",
        )
        .header("If-None-Match", text(), "ETags of copies that are there already")
}

/// What is said about a file whichever part of it is asked for.
pub(super) struct FileHead {
    pub(super) file_type: FileType,
    /// A name to save it under, already safe.
    pub(super) name: String,
    pub(super) size: u64,
    /// Tells one content from another; without quotes.
    pub(super) mark: String,
    /// How long a copy is good.
    pub(super) fresh: Duration,
    /// May caches between us and the browser keep a copy?
    pub(super) shared: bool,
}

/// What a request wants of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It has it already.
    NotModified,
    /// All of it.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that do not exist.
    Unsatisfiable,
}

impl FileHead {
    fn etag(&self) -> String {
        format!("\"{}\"", self.mark)
    }

    /// Reads the request's conditions.
    pub(super) fn wanted_by(&self, request: &HttpRequest) -> Wanted {
        let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
        let etag = self.etag();
        if let Some(known) = text(IF_NONE_MATCH) {
            let same = |tag: &str| tag == "*" || tag.trim_start_matches("W/") == etag;
            if known.split(',').map(str::trim).any(same) {
                return Wanted::NotModified;
            }
        }
        // A part of another version would not fit to what the caller has.
        if text(IF_RANGE).is_some_and(|tag| tag != etag) {
            return Wanted::Whole;
        }
        text(RANGE).map_or(Wanted::Whole, |range| read_range(range, self.size))
    }

    /// The answer without bytes: not modified, or a range that does not exist.
    pub(super) fn answer_without(&self, status: Wanted) -> HttpResponse {
        if status == Wanted::Unsatisfiable {
            let mut response = HttpResponse::RangeNotSatisfiable();
            response.insert_header((CONTENT_RANGE, format!("bytes */{}", self.size)));
            return response.finish();
        }
        let mut response = HttpResponse::NotModified();
        self.write(&mut response);
        response.finish()
    }

    /// The answer with the bytes of `open`.
    pub(super) fn answer_with(&self, request: &HttpRequest, open: OpenFile) -> HttpResponse {
        let length = open.range.end - open.range.start;
        let mut response = if length == open.size {
            HttpResponse::Ok()
        } else {
            let mut response = HttpResponse::PartialContent();
            let range = format!("bytes {}-{}/{}", open.range.start, open.range.end - 1, open.size);
            response.insert_header((CONTENT_RANGE, range));
            response
        };
        self.write(&mut response);
        if request.method() == Method::HEAD {
            let nothing = stream::empty::<Result<bytes::Bytes, std::io::Error>>();
            return response.body(SizedStream::new(length, nothing));
        }
        response.body(SizedStream::new(length, open.bytes))
    }

    fn write(&self, response: &mut HttpResponseBuilder) {
        let disposition = if self.file_type.shown {
            "inline"
        } else {
            "attachment"
        };
        let reach = if self.shared { "public" } else { "private" };
        response
            .insert_header((header::CONTENT_TYPE, self.file_type.mime))
            .insert_header((CONTENT_DISPOSITION, content_disposition(disposition, &self.name)))
            .insert_header((
                CACHE_CONTROL,
                format!("{reach}, max-age={}", self.fresh.as_secs()),
            ))
            .insert_header((ETAG, self.etag()))
            .insert_header((ACCEPT_RANGES, "bytes"))
            .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .insert_header((CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"))
            .insert_header((REFERRER_POLICY, "no-referrer"))
            // The dashboard shows pictures from another origin (contract 1.0).
            .insert_header((
                HeaderName::from_static("cross-origin-resource-policy"),
                "cross-origin",
            ));
    }
}

/// The name twice: for old readers in ASCII, for others as it is.
fn content_disposition(kind: &str, name: &str) -> HeaderValue {
    let ascii: String = name
        .chars()
        .map(|c| {
            if c.is_ascii() && !c.is_ascii_control() && !matches!(c, '"' | '\\') {
                c
            } else {
                '_'
            }
        })
        .collect();
    let encoded: String = name
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect();
    HeaderValue::from_str(&format!(
        "{kind}; filename=\"{ascii}\"; filename*=UTF-8''{encoded}"
    ))
    .unwrap_or_else(|_| HeaderValue::from_static("attachment"))
}

/// `bytes=a-b`, `bytes=a-` and `bytes=-n`. Several ranges, other units and nonsense are answered with the whole file,
/// as a server may that knows no ranges.
fn read_range(text: &str, size: u64) -> Wanted {
    let Some(range) = text.trim().strip_prefix("bytes=") else {
        return Wanted::Whole;
    };
    let Some((first, last)) = range.split_once('-') else {
        return Wanted::Whole;
    };
    let number = |text: &str| -> Option<Option<u64>> {
        match text.trim() {
            "" => Some(None),
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok().map(Some),
            _ => None,
        }
    };
    let (start, end) = match (number(first), number(last)) {
        (Some(Some(first)), Some(last)) => match last {
            Some(last) if last < first => return Wanted::Whole,
            Some(last) => (first, last.saturating_add(1).min(size)),
            None => (first, size),
        },
        (Some(None), Some(Some(count))) => (size.saturating_sub(count), size),
        _ => return Wanted::Whole,
    };
    if start >= end {
        Wanted::Unsatisfiable
    } else {
        Wanted::Part(start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        for (text, wanted) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=2-5", Wanted::Part(2..6)),
            ("bytes=2-", Wanted::Part(2..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-99", Wanted::Part(0..10)),
            ("bytes=5-99", Wanted::Part(5..10)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=99-100", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=5-2", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=99999999999999999999-", Wanted::Whole),
            ("pages=1-2", Wanted::Whole),
        ] {
            assert_eq!(read_range(text, 10), wanted, "{text}");
        }
    }

    #[test]
    fn a_name_cannot_leave_its_header() {
        let header = content_disposition("attachment", "Kartu\r\nX: y\" é.pdf");
        assert_eq!(
            header.to_str().unwrap(),
            "attachment; filename=\"Kartu__X: y_ _.pdf\"; filename*=UTF-8''Kartu%0D%0AX%3A%20y%22%20%C3%A9.pdf"
        );
    }
}
