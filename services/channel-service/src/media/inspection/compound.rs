//! The containers of older office documents, which installers and mails use too: known by what they hold.

use std::io::{self, Read, Seek};

use cfb::CompoundFile;

use super::{Content, Suspicion};
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

pub(super) fn look(file: &mut (impl Read + Seek)) -> io::Result<Result<Content, Suspicion>> {
    file.rewind()?;
    let Ok(container) = CompoundFile::open(&mut *file) else {
        return Ok(Err(Suspicion::Unreadable));
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
