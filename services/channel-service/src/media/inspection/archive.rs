//! Zip archives, and the documents that are ones: known by the names in their directory, which stands at their end.

use std::io::{Read, Seek};

use zip::ZipArchive;

use super::{Content, Suspicion};
use crate::media::file_type::named;

/// Most entries of an archive that anybody sends a village office.
const MOST_ENTRIES: usize = 20_000;
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

pub(super) fn look(file: &mut (impl Read + Seek), head: &[u8]) -> Result<Content, Suspicion> {
    // Others are empty, or one of several pieces.
    if !head.starts_with(b"PK\x03\x04") {
        return Err(Suspicion::Unreadable);
    }
    let archive = ZipArchive::new(&mut *file).map_err(|_| Suspicion::Unreadable)?;
    // Something stands before it that is not its own.
    if archive.offset() != 0 {
        return Err(Suspicion::Polyglot);
    }
    if archive.len() > MOST_ENTRIES {
        return Err(Suspicion::ArchiveBomb);
    }
    let packed = archive.central_directory_start().max(1);
    let unpacked = archive.decompressed_size().unwrap_or(u128::MAX);
    if unpacked > u128::from(MOST_UNPACKED)
        || (unpacked > u128::from(SMALL) && unpacked / u128::from(packed) > u128::from(MOST_GROWTH))
    {
        return Err(Suspicion::ArchiveBomb);
    }
    let has = |wanted: &str| archive.index_for_name(wanted).is_some();
    if archive
        .file_names()
        .any(|name| name.is_ok_and(|name| name.ends_with("vbaProject.bin")))
    {
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

/// Do these last bytes of a file make it an archive? Their last record says how much of a comment follows it.
pub(super) fn ends_as_one(tail: &[u8]) -> bool {
    const RECORD: usize = 22;
    tail.windows(RECORD).enumerate().any(|(at, record)| {
        record.starts_with(b"PK\x05\x06")
            && usize::from(u16::from_le_bytes([record[20], record[21]])) == tail.len() - at - RECORD
    })
}
