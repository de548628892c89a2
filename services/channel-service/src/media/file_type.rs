//! What a file is, by its content. Whoever sends a file says what it is, and says what they like; so the name of its
//! type and its ending come from here, and a browser is shown nothing that is not on this list.

/// A type of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileType {
    /// Its name.
    pub mime: &'static str,
    /// The ending of its names, without the dot.
    pub extension: &'static str,
    /// May a browser show it where it is linked? Only what can hold no script.
    pub shown: bool,
}

/// What is none of the known types: kept, and only ever saved to disk by whoever opens it.
pub const UNKNOWN: FileType = kept("application/octet-stream", "bin");

const fn shown(mime: &'static str, extension: &'static str) -> FileType {
    FileType {
        mime,
        extension,
        shown: true,
    }
}

const fn kept(mime: &'static str, extension: &'static str) -> FileType {
    FileType {
        mime,
        extension,
        shown: false,
    }
}

/// What a detector calls a type, and what we do. A page, a drawing with scripts (SVG) or a program is in no row and so
/// is [`UNKNOWN`].
const TABLE: &[(&str, FileType)] = &[
    ("image/jpeg", shown("image/jpeg", "jpg")),
    ("image/png", shown("image/png", "png")),
    ("image/gif", shown("image/gif", "gif")),
    ("image/webp", shown("image/webp", "webp")),
    ("image/bmp", kept("image/bmp", "bmp")),
    ("image/tiff", kept("image/tiff", "tiff")),
    ("image/heif", kept("image/heif", "heic")),
    ("image/avif", shown("image/avif", "avif")),
    ("video/mp4", shown("video/mp4", "mp4")),
    ("video/x-m4v", shown("video/mp4", "mp4")),
    ("video/webm", shown("video/webm", "webm")),
    ("video/quicktime", shown("video/quicktime", "mov")),
    ("video/3gpp", shown("video/3gpp", "3gp")),
    ("video/x-matroska", kept("video/x-matroska", "mkv")),
    ("video/x-msvideo", kept("video/x-msvideo", "avi")),
    ("video/mpeg", kept("video/mpeg", "mpg")),
    ("audio/ogg", shown("audio/ogg", "ogg")),
    ("audio/opus", shown("audio/ogg", "ogg")),
    ("audio/mpeg", shown("audio/mpeg", "mp3")),
    ("audio/m4a", shown("audio/mp4", "m4a")),
    ("audio/aac", shown("audio/aac", "aac")),
    ("audio/amr", shown("audio/amr", "amr")),
    ("audio/x-wav", shown("audio/wav", "wav")),
    ("audio/x-flac", shown("audio/flac", "flac")),
    ("application/pdf", kept("application/pdf", "pdf")),
    ("application/msword", kept("application/msword", "doc")),
    (
        "application/vnd.ms-excel",
        kept("application/vnd.ms-excel", "xls"),
    ),
    (
        "application/vnd.ms-powerpoint",
        kept("application/vnd.ms-powerpoint", "ppt"),
    ),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        kept(
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "docx",
        ),
    ),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        kept(
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "xlsx",
        ),
    ),
    (
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        kept(
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            "pptx",
        ),
    ),
    ("text/plain", kept("text/plain", "txt")),
    ("text/csv", kept("text/csv", "csv")),
    ("text/vcard", kept("text/vcard", "vcf")),
    ("text/calendar", kept("text/calendar", "ics")),
    ("application/epub+zip", kept("application/epub+zip", "epub")),
    ("application/zip", kept("application/zip", "zip")),
    ("application/gzip", kept("application/gzip", "gz")),
    (
        "application/x-7z-compressed",
        kept("application/x-7z-compressed", "7z"),
    ),
    ("application/vnd.rar", kept("application/vnd.rar", "rar")),
];

/// Looks at the beginning of a file; the first 8 KiB are plenty.
#[must_use]
pub fn detect(head: &[u8]) -> FileType {
    // `ftyp3gp…`, which phones record and the detector does not know.
    if head.get(4..11) == Some(b"ftyp3gp") {
        return named("video/3gpp");
    }
    infer::get(head).map_or(UNKNOWN, |found| named(found.mime_type()))
}

/// The type that goes by this name.
#[must_use]
pub fn named(mime: &str) -> FileType {
    TABLE
        .iter()
        .find(|(detected, file)| *detected == mime || file.mime == mime)
        .map_or(UNKNOWN, |(_, file)| *file)
}

/// The type of files with this ending.
#[must_use]
pub fn with_extension(extension: &str) -> Option<FileType> {
    TABLE
        .iter()
        .find(|(_, file)| file.extension == extension)
        .map(|(_, file)| *file)
}

/// A name under which a file may be saved: the sender's, without anything that is a path or makes it look like another
/// one, and with the ending of what it really is.
#[must_use]
pub fn safe_name(claimed: Option<&str>, fallback: &str, file_type: FileType) -> String {
    const MAX_STEM: usize = 100;
    let last = claimed
        .unwrap_or_default()
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or_default();
    let stem = last.rsplit_once('.').map_or(last, |(stem, _)| stem);
    let stem: String = stem
        .chars()
        .filter(|c| !c.is_control() && !is_disguise(*c) && !r#""<>:|?*;%"#.contains(*c))
        .take(MAX_STEM)
        .collect();
    let stem = stem.trim_matches([' ', '.']);
    let stem = if stem.is_empty() { fallback } else { stem };
    format!("{stem}.{}", file_type.extension)
}

/// Turns the direction of writing, or is not seen: `gpj.exe` can be made to look like `exe.jpg`.
const fn is_disguise(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides_and_what_can_hold_a_script_is_unknown() {
        assert_eq!(detect(b"\xff\xd8\xff\xe0\0\x10JFIF\0"), named("image/jpeg"));
        assert_eq!(detect(b"OggS\0\x02\0\0\0\0\0\0\0\0").extension, "ogg");
        assert_eq!(detect(b"%PDF-1.7\n"), named("application/pdf"));
        assert_eq!(detect(b"\0\0\0\x18ftyp3gp4\0\0\0\0").mime, "video/3gpp");
        for dangerous in [
            &b"<!DOCTYPE html><script>alert(1)</script>"[..],
            b"<html><body>",
            b"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>",
            b"<?xml version=\"1.0\"?><svg/>",
            b"#!/bin/sh\nrm -rf /",
            b"MZ\x90\0\x03\0\0\0",
            b"\x7fELF\x02\x01\x01",
            b"",
        ] {
            assert_eq!(detect(dangerous), UNKNOWN, "{dangerous:?}");
        }
        assert!(TABLE.iter().all(|(_, file)| {
            !file.shown
                || ["image/", "audio/", "video/"]
                    .iter()
                    .any(|sort| file.mime.starts_with(sort))
        }));
    }

    #[test]
    fn a_name_is_never_a_path_and_ends_as_the_file_is() {
        let pdf = named("application/pdf");
        for (claimed, safe) in [
            ("KK.pdf", "KK.pdf"),
            ("../../etc/passwd", "passwd.pdf"),
            ("..\\..\\boot.ini", "boot.pdf"),
            ("photo.exe", "photo.pdf"),
            ("ab\u{202e}fdp.exe", "abfdp.pdf"),
            ("a\"; filename=\"b.html", "a filename=b.pdf"),
            ("..", "file.pdf"),
            ("", "file.pdf"),
            ("Surat Keterangan (2).docx", "Surat Keterangan (2).pdf"),
        ] {
            assert_eq!(safe_name(Some(claimed), "file", pdf), safe, "{claimed}");
        }
        assert_eq!(safe_name(None, "image", named("image/jpeg")), "image.jpg");
        assert!(safe_name(Some(&"x".repeat(900)), "file", pdf).len() < 120);
    }
}
