//! The predecessor's table `WebhookRoute` (contract 1.5), out of its SQLite file.

use std::fmt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDateTime, Utc};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};
use secrecy::SecretString;

/// A row, as far as it can be read.
pub struct OriginalRoute {
    /// Its number, by which scripts may know it.
    pub number: i64,
    /// None where it is no whole number.
    pub inbox_id: Option<i64>,
    /// As it was stored: whatever anybody had typed, passwords included.
    pub webhook_url: SecretString,
    /// What people call it.
    pub name: Option<String>,
    /// None where it cannot be read.
    pub created_at: Option<DateTime<Utc>>,
}

impl fmt::Debug for OriginalRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginalRoute")
            .field("number", &self.number)
            .field("inbox_id", &self.inbox_id)
            .finish_non_exhaustive()
    }
}

/// Why the file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableFile {
    /// The file, or the copy that is read.
    #[error("the file cannot be copied to be read")]
    Copy(#[from] std::io::Error),
    /// Not SQLite, or without the table.
    #[error("the file is no database of the predecessor's")]
    Sqlite(#[from] rusqlite::Error),
}

/// Every row, in the order of their numbers. The predecessor may go on meanwhile: what is read is a copy, which takes
/// along what only the write-ahead log has.
///
/// # Errors
/// [`UnreadableFile`].
pub fn read(file: &Path) -> Result<Vec<OriginalRoute>, UnreadableFile> {
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("original.db");
    std::fs::copy(file, &copy)?;
    let log = beside(file);
    if log.is_file() {
        std::fs::copy(log, beside(&copy))?;
    }
    let connection = Connection::open_with_flags(
        &copy,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    let mut statement = connection.prepare(
        r#"SELECT "id", "inboxId", "webhookUrl", "name", "createdAt" FROM "WebhookRoute" ORDER BY "id""#,
    )?;
    let rows = statement.query_map([], route)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn route(row: &Row<'_>) -> Result<OriginalRoute, rusqlite::Error> {
    Ok(OriginalRoute {
        number: row.get(0)?,
        inbox_id: match row.get_ref(1)? {
            ValueRef::Integer(id) => Some(id),
            _ => None,
        },
        webhook_url: SecretString::from(text(row.get_ref(2)?).unwrap_or_default()),
        name: text(row.get_ref(3)?).filter(|name| !name.trim().is_empty()),
        created_at: time(row.get_ref(4)?),
    })
}

fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}

/// Its database library has written times in three ways: milliseconds since 1970, ISO 8601, and SQLite's own form.
fn time(value: ValueRef<'_>) -> Option<DateTime<Utc>> {
    match value {
        ValueRef::Integer(milliseconds) => DateTime::from_timestamp_millis(milliseconds),
        ValueRef::Text(bytes) => {
            let text = std::str::from_utf8(bytes).ok()?;
            let iso = DateTime::parse_from_rfc3339(text).map(|at| at.to_utc());
            iso.or_else(|_| {
                NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").map(|at| at.and_utc())
            })
            .ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_however_they_were_written() {
        let expected = DateTime::from_timestamp_millis(1_767_579_011_120);
        for value in [
            ValueRef::Integer(1_767_579_011_120),
            ValueRef::Text(b"2026-01-05T02:10:11.120+00:00"),
            ValueRef::Text(b"2026-01-05 02:10:11.120"),
        ] {
            assert_eq!(time(value), expected);
        }
        assert_eq!(time(ValueRef::Null), None);
        assert_eq!(time(ValueRef::Text(b"yesterday")), None);
    }
}
