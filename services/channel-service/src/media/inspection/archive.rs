//! Zip archives, and the documents that are ones: known by the names in their directory, which stands at their end. The
//! directory is read here and not by a library, because one that is made to be large must not be read at all.

use std::io::{self, Read, Seek};

use super::{Content, Suspicion, read};
use crate::media::file_type::named;

/// Most entries of an archive that anybody sends a village office.
const MOST_ENTRIES: usize = 20_000;
/// Largest directory, in bytes.
const LARGEST_DIRECTORY: u64 = 8 * 1024 * 1024;
/// Most bytes of all entries together, unpacked, as the directory declares them.
const MOST_UNPACKED: u64 = 4 * 1024 * 1024 * 1024;
/// An archive that is this many times larger unpacked holds nothing that anybody wrote.
const MOST_GROWTH: u64 = 400;
/// Below this growth is no danger, however large.
const SMALL: u64 = 64 * 1024 * 1024;

/// What makes an archive a document: an entry besides the list of its types.
const DOCUMENTS: &[(&str, &str)] = &[
    (
        "word/document.xml",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    (
        "xl/workbook.xml",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    (
        "xl/workbook.bin",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    (
        "ppt/presentation.xml",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ),
];

/// Entries that programs have, and documents have not.
const OF_PROGRAMS: &[&str] = &["AndroidManifest.xml", "classes.dex", "META-INF/MANIFEST.MF"];

/// The last record of an archive.
const END: &[u8] = b"PK\x05\x06";
const END_SIZE: usize = 22;
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_SIZE: usize = 46;

/// Where the directory is.
struct Directory {
    entries: usize,
    start: u64,
    size: u64,
    /// Where the record is that tells it: right behind the directory.
    told_at: u64,
}

/// `tail` are the last bytes of `size`.
pub(super) fn look(
    file: &mut (impl Read + Seek),
    size: u64,
    head: &[u8],
    tail: &[u8],
) -> io::Result<Result<Content, Suspicion>> {
    // Others are empty, or one of several pieces.
    let Some(directory) = directory(size, tail).filter(|_| head.starts_with(b"PK\x03\x04")) else {
        return Ok(Err(Suspicion::Unreadable));
    };
    if directory.entries > MOST_ENTRIES || directory.size > LARGEST_DIRECTORY {
        return Ok(Err(Suspicion::ArchiveBomb));
    }
    // Something stands before the archive, or in it, that is not its own.
    if directory.start.checked_add(directory.size) != Some(directory.told_at) {
        return Ok(Err(Suspicion::Polyglot));
    }
    let bytes = read(file, directory.start, directory.size)?;
    Ok(match entries(&bytes, directory.entries) {
        Some(entries) => judge(&entries, directory.start),
        None => Err(Suspicion::Unreadable),
    })
}

fn judge(entries: &[(&[u8], u64)], packed: u64) -> Result<Content, Suspicion> {
    let unpacked = entries
        .iter()
        .fold(0_u64, |sum, (_, size)| sum.saturating_add(*size));
    if unpacked > MOST_UNPACKED || (unpacked > SMALL && unpacked / packed.max(1) > MOST_GROWTH) {
        return Err(Suspicion::ArchiveBomb);
    }
    let has = |wanted: &str| entries.iter().any(|(name, _)| *name == wanted.as_bytes());
    if entries.iter().any(|(name, _)| name.ends_with(b"vbaProject.bin")) {
        return Err(Suspicion::Macros);
    }
    if OF_PROGRAMS.iter().any(|name| has(name)) {
        return Err(Suspicion::Executable);
    }
    let document = DOCUMENTS
        .iter()
        .find(|(entry, _)| has(entry) && has("[Content_Types].xml"));
    let mime = match document {
        Some((_, mime)) => mime,
        None if has("META-INF/container.xml") => "application/epub+zip",
        None => "application/zip",
    };
    Ok(Content::Known(named(mime)))
}

/// Do these last bytes of a file make it an archive?
pub(super) fn ends_as_one(tail: &[u8]) -> bool {
    end(tail).is_some()
}

/// Where the last record begins: it says how much of a comment follows it, up to the end.
fn end(tail: &[u8]) -> Option<usize> {
    (0..=tail.len().checked_sub(END_SIZE)?).rev().find(|at| {
        tail[*at..].starts_with(END)
            && word(tail, at + 20).is_some_and(|comment| usize::from(comment) == tail.len() - at - END_SIZE)
    })
}

fn directory(size: u64, tail: &[u8]) -> Option<Directory> {
    let at = end(tail)?;
    Some(Directory {
        entries: usize::from(word(tail, at + 10)?),
        size: u64::from(double(tail, at + 12)?),
        start: u64::from(double(tail, at + 16)?),
        told_at: size - (tail.len() - at) as u64,
    })
}

/// The names in the directory, with the sizes that they have unpacked. `None`: it is none.
fn entries(bytes: &[u8], count: usize) -> Option<Vec<(&[u8], u64)>> {
    let (mut at, mut entries) = (0, Vec::new());
    for _ in 0..count {
        if !bytes.get(at..)?.starts_with(ENTRY) {
            return None;
        }
        let unpacked = u64::from(double(bytes, at + 24)?);
        let length = |field: usize| word(bytes, at + field).map(usize::from);
        let (name, extra, comment) = (length(28)?, length(30)?, length(32)?);
        entries.push((bytes.get(at + ENTRY_SIZE..at + ENTRY_SIZE + name)?, unpacked));
        at += ENTRY_SIZE + name + extra + comment;
    }
    Some(entries)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn double(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
