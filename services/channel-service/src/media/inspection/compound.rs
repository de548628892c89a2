//! The containers of older office documents, which installers and mails use too: known by what they hold.

use std::io::{self, Read, Seek};

use cfb::CompoundFile;

use super::{Content, Suspicion, read};
use crate::media::file_type::named;

pub(super) const MAGIC: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

/// Most entries that are looked at.
const MOST_ENTRIES: usize = 10_000;

/// Windows Installer marks its root so.
const INSTALLER: &str = "000c1084-0000-0000-c000-000000000046";

/// What makes a container a document.
const DOCUMENTS: &[(&str, &str)] = &[
    ("WordDocument", "application/msword"),
    ("Workbook", "application/vnd.ms-excel"),
    ("Book", "application/vnd.ms-excel"),
    ("PowerPoint Document", "application/vnd.ms-powerpoint"),
];

pub(super) fn look(file: &mut (impl Read + Seek), size: u64) -> io::Result<Result<Content, Suspicion>> {
    if !has_a_table_of_its_size(file, size)? {
        return Ok(Err(Suspicion::Unreadable));
    }
    file.rewind()?;
    let container = match CompoundFile::open(&mut *file) {
        Ok(container) => container,
        Err(error) if is_the_files(&error) => return Ok(Err(Suspicion::Unreadable)),
        Err(error) => return Err(error),
    };
    if container.root_entry().clsid().hyphenated().to_string() == INSTALLER {
        return Ok(Err(Suspicion::Executable));
    }
    if container
        .walk()
        .take(MOST_ENTRIES)
        .any(|entry| matches!(entry.name(), "_VBA_PROJECT" | "_VBA_PROJECT_CUR" | "VBA"))
    {
        return Ok(Err(Suspicion::Macros));
    }
    let has = |name: &str| container.exists(format!("/{name}"));
    if has("EncryptedPackage") {
        return Ok(Ok(Content::Locked));
    }
    let found = DOCUMENTS.iter().find(|(name, _)| has(name));
    Ok(Ok(found.map_or(Content::Unknown, |(_, mime)| {
        Content::Known(named(mime))
    })))
}

/// Is the table of sectors as long as a file of this size needs? The reader of containers takes a list of the table's
/// sectors for what it says, also one that names the same ones again and again and never ends.
fn has_a_table_of_its_size(file: &mut (impl Read + Seek), size: u64) -> io::Result<bool> {
    const IN_HEADER: u64 = 109;
    const LAST_SECTOR: u32 = 0xffff_fffa;
    let header = read(file, 0, 512)?;
    let double = |bytes: &[u8], at: usize| -> Option<u32> {
        Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
    };
    let sector = match header.get(30) {
        Some(9) => 512_u64,
        Some(12) => 4096,
        _ => return Ok(false),
    };
    let (Some(told), Some(mut next)) = (double(&header, 44), double(&header, 68)) else {
        return Ok(false);
    };
    let entries = sector / 4;
    let needed = size.div_ceil(sector).div_ceil(entries);
    let most = needed.saturating_sub(IN_HEADER).div_ceil(entries - 1);
    if u64::from(told) > needed + 1 {
        return Ok(false);
    }
    for _ in 0..most {
        if next >= LAST_SECTOR {
            return Ok(true);
        }
        let link = read(file, (u64::from(next) + 2) * sector - 4, 4)?;
        match double(&link, 0) {
            Some(following) => next = following,
            None => return Ok(false),
        }
    }
    Ok(next >= LAST_SECTOR)
}

/// Errors of the content; the others are of whatever it is read from.
fn is_the_files(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof
    )
}
