//! What a file is, by all of its content, and whether it may be handed out (Cloud API contract 4.3).
//!
//! Whoever sends a file says what it is. Here its bytes say: a program, a page with scripts, a document with macros, a
//! file that is two files at once, or one that is not what it was announced as is kept with the reason and never handed
//! out. A match of the first bytes proves only what a file could be, so containers are looked into; nothing is unpacked.

mod archive;
mod boxes;
mod compound;
mod markup;
mod stored;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Seek, SeekFrom};

use domain::message::MediaKind;

use super::file_type::{self, FileType, UNKNOWN, named};
pub(super) use stored::StoredBytes;

/// What of a file's beginning is looked at.
const HEAD: u64 = 16 * 1024;
/// What of its end: as far as an archive's last record may be from it.
const TAIL: u64 = 22 + 65_535;

/// What was announced.
#[derive(Debug, Clone, Copy)]
pub struct Announced<'a> {
    /// What sort of file.
    pub kind: MediaKind,
    /// Its type, as its sender declared it.
    pub declared: Option<&'a str>,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspected {
    /// What it is, by its content.
    pub file_type: FileType,
    /// Why it is not handed out.
    pub suspicion: Option<Suspicion>,
}

/// Why a file is not handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspicion {
    /// It is a program, or installs one.
    Executable,
    /// It is a page, or a text that something runs.
    Script,
    /// It is a document with programs in it.
    Macros,
    /// Unpacked it would be larger than anybody wants.
    ArchiveBomb,
    /// It is of two types at once.
    Polyglot,
    /// It is not of the type or sort that was announced.
    TypeMismatch,
    /// It begins like a container and cannot be read as one.
    Unreadable,
}

impl Suspicion {
    /// The stable code, for rows, answers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Executable => "executable",
            Self::Script => "script",
            Self::Macros => "macros",
            Self::ArchiveBomb => "archive_bomb",
            Self::Polyglot => "polyglot",
            Self::TypeMismatch => "type_mismatch",
            Self::Unreadable => "unreadable_container",
        }
    }
}

/// What a file's content is, whatever was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// One of the known types.
    Known(FileType),
    /// A film's container, and nobody can say whether there is a picture in it.
    SoundOrFilm,
    /// A document that only its password opens.
    Locked,
    /// Words.
    Text,
    /// None of these.
    Unknown,
}

/// Looks at a file.
///
/// # Errors
/// What reading it brings.
pub fn inspect(file: &mut (impl Read + Seek), announced: &Announced<'_>) -> io::Result<Inspected> {
    let size = file.seek(SeekFrom::End(0))?;
    let head = read(file, 0, size.min(HEAD))?;
    let tail = read(file, size.saturating_sub(TAIL), size.min(TAIL))?;
    let looked = match look(file, size, &head, &tail) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Suspicion::Unreadable),
        looked => looked?,
    };
    Ok(match looked {
        Ok(content) => Inspected {
            file_type: type_of(content, announced),
            suspicion: (!agrees(content, announced)).then_some(Suspicion::TypeMismatch),
        },
        Err(suspicion) => Inspected {
            file_type: UNKNOWN,
            suspicion: Some(suspicion),
        },
    })
}

/// The content, or what is wrong with it. The order matters: what is dangerous in any file comes first.
fn look(
    file: &mut (impl Read + Seek),
    size: u64,
    head: &[u8],
    tail: &[u8],
) -> io::Result<Result<Content, Suspicion>> {
    // `#!` begins a script, and a recorded sound.
    if head.starts_with(b"#!AMR") {
        return Ok(single(named("audio/amr"), head, tail));
    }
    if markup::is_program(head) {
        return Ok(Err(Suspicion::Executable));
    }
    if markup::is_script(head) {
        return Ok(Err(Suspicion::Script));
    }
    if head.starts_with(b"PK") {
        return archive::look(file, size, head, tail);
    }
    if head.starts_with(compound::MAGIC) {
        return compound::look(file, size);
    }
    if let Some(content) = boxes::look(file, size, head)? {
        return Ok(alone(head, tail).map(|()| content));
    }
    let found = sound(head).unwrap_or_else(|| file_type::detect(head));
    if found != UNKNOWN {
        return Ok(single(found, head, tail));
    }
    let content = if markup::is_text(head) && markup::is_text(tail) {
        Content::Text
    } else {
        Content::Unknown
    };
    Ok(Ok(content))
}

fn single(file_type: FileType, head: &[u8], tail: &[u8]) -> Result<Content, Suspicion> {
    if !file_type.mime.starts_with("application/") && markup::has_script(head, tail) {
        return Err(Suspicion::Polyglot);
    }
    if file_type.mime != "application/pdf" && holds_late_pdf(head) {
        return Err(Suspicion::Polyglot);
    }
    alone(head, tail).map(|()| Content::Known(file_type))
}

/// No archive hangs on it: archives are read from their end, so whatever stands before one is no matter to them.
fn alone(head: &[u8], tail: &[u8]) -> Result<(), Suspicion> {
    const RAR: &[u8] = b"Rar!\x1a\x07";
    let is_rar = head.starts_with(RAR);
    if archive::ends_as_one(tail) || (!is_rar && contains(tail, RAR)) {
        Err(Suspicion::Polyglot)
    } else {
        Ok(())
    }
}

/// Readers of PDF take its mark anywhere in the first kilobyte.
fn holds_late_pdf(head: &[u8]) -> bool {
    contains(&head[..head.len().min(1024)], b"%PDF-")
}

/// Sound files that begin with a frame, or with a tag before it.
fn sound(head: &[u8]) -> Option<FileType> {
    const TAG: usize = 10;
    let frame = match head {
        [b'I', b'D', b'3', _, _, _, a, b, c, d, ..] => {
            // The tag's length is in four times seven bits.
            let length = [a, b, c, d]
                .iter()
                .fold(0_usize, |length, byte| (length << 7) | usize::from(**byte & 0x7f));
            match head.get(TAG + length..) {
                Some(frame) if frame.len() >= 2 => frame,
                // The frame is further away than we look: such tags are put before MP3.
                _ => return Some(named("audio/mpeg")),
            }
        }
        _ => head,
    };
    match frame {
        [0xff, second, ..] if second & 0xf6 == 0xf0 => Some(named("audio/aac")),
        [0xff, second, third, ..]
            if second & 0xe0 == 0xe0 && second & 0x06 == 0x02 && third & 0xf0 != 0xf0 =>
        {
            Some(named("audio/mpeg"))
        }
        [b'A', b'D', b'I', b'F', ..] => Some(named("audio/aac")),
        _ if head.starts_with(b"ID3") => Some(named("audio/mpeg")),
        _ => None,
    }
}

impl Inspected {
    /// What nobody could look into.
    pub(super) const UNREADABLE: Self = Self {
        file_type: UNKNOWN,
        suspicion: Some(Suspicion::Unreadable),
    };
}

/// Under which type the file is handed out.
fn type_of(content: Content, announced: &Announced<'_>) -> FileType {
    match content {
        Content::Known(file_type) => file_type,
        Content::SoundOrFilm if is_sound(announced.kind) => named("audio/mp4"),
        Content::SoundOrFilm => named("video/mp4"),
        Content::Locked => declared_type(announced).unwrap_or(UNKNOWN),
        Content::Text => match declared_type(announced) {
            Some(file_type) if file_type.mime.starts_with("text/") => file_type,
            _ => named("text/plain"),
        },
        Content::Unknown => UNKNOWN,
    }
}

/// Is it what was announced? Types of one family may stand for each other: phones call a PNG a JPEG.
fn agrees(content: Content, announced: &Announced<'_>) -> bool {
    let found = type_of(content, announced);
    let family = found.mime.split('/').next().unwrap_or_default();
    match announced.kind {
        MediaKind::Image => family == "image",
        // Moving ones may be an archive of drawings.
        MediaKind::Sticker => family == "image" || found.mime == "application/zip",
        MediaKind::Video => family == "video",
        MediaKind::Audio | MediaKind::Voice => family == "audio",
        MediaKind::Document => match declared_type(announced) {
            // Whoever announces nothing in particular gets what it is.
            None => true,
            Some(declared) => match content {
                Content::Known(_) => {
                    declared.mime == found.mime
                        || (family != "application" && declared.mime.split('/').next() == Some(family))
                }
                Content::SoundOrFilm => {
                    declared.mime.starts_with("audio/") || declared.mime.starts_with("video/")
                }
                Content::Locked => declared.mime.contains("officedocument"),
                Content::Text => declared.mime.starts_with("text/"),
                Content::Unknown => false,
            },
        },
    }
}

const fn is_sound(kind: MediaKind) -> bool {
    matches!(kind, MediaKind::Audio | MediaKind::Voice)
}

/// The known type that was declared, without its parameters.
fn declared_type(announced: &Announced<'_>) -> Option<FileType> {
    let essence = announced.declared?.split(';').next()?.trim().to_ascii_lowercase();
    Some(named(&essence)).filter(|file_type| *file_type != UNKNOWN)
}

/// A piece of the file; shorter where it ends.
fn read(file: &mut (impl Read + Seek), at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut piece = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    file.take(length).read_to_end(&mut piece)?;
    Ok(piece)
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
