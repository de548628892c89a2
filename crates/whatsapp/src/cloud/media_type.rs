//! The types of files that go out: what they are declared as, what they are called and how large they may be (Cloud API
//! contract 4.2).

use domain::message::MediaKind;

const MB: usize = 1_000_000;

/// Type and the ending of its names. Meta looks at both.
const TYPES: &[(&str, &str)] = &[
    ("audio/aac", "aac"),
    ("audio/amr", "amr"),
    ("audio/mpeg", "mp3"),
    ("audio/mp4", "m4a"),
    ("audio/ogg", "ogg"),
    ("text/plain", "txt"),
    ("application/pdf", "pdf"),
    ("application/msword", "doc"),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "docx",
    ),
    ("application/vnd.ms-excel", "xls"),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "xlsx",
    ),
    ("application/vnd.ms-powerpoint", "ppt"),
    (
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "pptx",
    ),
    ("image/jpeg", "jpeg"),
    ("image/jpeg", "jpg"),
    ("image/png", "png"),
    ("image/webp", "webp"),
    ("video/3gpp", "3gp"),
    ("video/mp4", "mp4"),
];

/// Most bytes of a file of this sort. Of stickers the larger limit, which is that of those that move.
pub(super) const fn most_bytes(kind: MediaKind) -> usize {
    match kind {
        MediaKind::Image => 5 * MB,
        MediaKind::Video | MediaKind::Audio | MediaKind::Voice => 16 * MB,
        MediaKind::Document => 100 * MB,
        MediaKind::Sticker => MB / 2,
    }
}

/// What a file is put up as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    /// As it is declared.
    pub(super) mime_type: String,
    /// As it is called.
    pub(super) file_name: String,
}

/// The type and the name of a file: as declared, else by its name, else by its sort.
pub(super) fn describe(kind: MediaKind, mime_type: Option<&str>, file_name: Option<&str>) -> Described {
    let ending = file_name
        .and_then(|name| name.rsplit_once('.'))
        .map(|(_, ending)| ending);
    let by_name = || {
        let ending = ending?;
        TYPES
            .iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(ending))
            .map(|(mime, _)| (*mime).to_owned())
    };
    let essence = mime_type
        .and_then(essence)
        .filter(|essence| essence != "application/octet-stream")
        .or_else(by_name)
        .unwrap_or_else(|| usual(kind).to_owned());
    // Meta refuses the name that many give to the same thing.
    let essence = match essence.as_str() {
        "audio/opus" | "application/ogg" => "audio/ogg".to_owned(),
        "image/jpg" => "image/jpeg".to_owned(),
        "audio/mp3" => "audio/mpeg".to_owned(),
        "audio/x-m4a" | "audio/m4a" => "audio/mp4".to_owned(),
        _ => essence,
    };
    let endings: Vec<&str> = TYPES
        .iter()
        .filter(|(mime, _)| *mime == essence)
        .map(|(_, ending)| *ending)
        .collect();
    let fits = ending.is_some_and(|ending| endings.iter().any(|known| known.eq_ignore_ascii_case(ending)));
    let file_name = match (file_name, endings.first()) {
        (Some(name), None) => name.to_owned(),
        (Some(name), Some(_)) if fits => name.to_owned(),
        (Some(name), Some(ending)) => format!("{name}.{ending}"),
        (None, Some(ending)) => format!("file.{ending}"),
        (None, None) => "file".to_owned(),
    };
    Described {
        mime_type: if essence == "audio/ogg" {
            "audio/ogg; codecs=opus".to_owned()
        } else {
            essence
        },
        file_name,
    }
}

const fn usual(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "image/jpeg",
        MediaKind::Video => "video/mp4",
        MediaKind::Audio => "audio/mpeg",
        MediaKind::Voice => "audio/ogg",
        MediaKind::Document => "application/pdf",
        MediaKind::Sticker => "image/webp",
    }
}

/// Can a voice note be made of it?
pub(super) fn is_voice(mime_type: &str) -> bool {
    matches!(essence(mime_type).as_deref(), Some("audio/ogg" | "audio/opus"))
}

/// A media type without its parameters, in lower case, where it is one.
fn essence(mime_type: &str) -> Option<String> {
    let essence = mime_type.split(';').next().unwrap_or_default().trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/.+-_".contains(c);
    (essence.matches('/').count() == 1 && essence.chars().all(plain)).then(|| essence.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_declared_and_called_as_meta_wants_it() {
        use MediaKind::{Audio, Document, Image, Sticker, Voice};
        for (kind, mime, name, expected) in [
            (
                Voice,
                Some("audio/opus"),
                None,
                ("audio/ogg; codecs=opus", "file.ogg"),
            ),
            (
                Voice,
                Some("audio/ogg; codecs=opus"),
                Some("a.opus"),
                ("audio/ogg; codecs=opus", "a.opus.ogg"),
            ),
            (Image, Some("IMAGE/JPEG"), Some("a.JPG"), ("image/jpeg", "a.JPG")),
            (Image, None, Some("a.png"), ("image/png", "a.png")),
            (Image, None, None, ("image/jpeg", "file.jpeg")),
            (Audio, Some("audio/x-m4a"), Some("a"), ("audio/mp4", "a.m4a")),
            (
                Document,
                Some("application/octet-stream"),
                Some("KK.PDF"),
                ("application/pdf", "KK.PDF"),
            ),
            (
                Document,
                Some("application/zip"),
                Some("a.zip"),
                ("application/zip", "a.zip"),
            ),
            (
                Document,
                Some("nonsense"),
                Some("surat.v2"),
                ("application/pdf", "surat.v2.pdf"),
            ),
            (Sticker, None, None, ("image/webp", "file.webp")),
        ] {
            let described = describe(kind, mime, name);
            assert_eq!(
                (described.mime_type.as_str(), described.file_name.as_str()),
                expected,
                "{mime:?} {name:?}"
            );
        }
    }
}
