//! Which files are up already: one that goes to many is put up once.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use domain::ids::PhoneNumberId;
use domain::message::MediaId;
use futures_util::lock::Mutex as AsyncMutex;

use super::media::{NewFile, UploadedMedia};

/// Most files that are remembered.
const MOST: usize = 1_024;

/// Files that are up, in memory and bounded. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Uploads {
    table: Arc<Mutex<Table>>,
}

/// Held by whoever puts the file up.
pub(super) type Slot = Arc<AsyncMutex<Option<Held>>>;

/// A file that is up.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) media: UploadedMedia,
    /// Meta took a message with it.
    pub(super) was_taken: bool,
    /// When it was put up.
    pub(super) since: Instant,
}

/// The number a file was put up for, its bytes, and what it was declared as and called: Meta keeps both with it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    number: PhoneNumberId,
    sha256: [u8; 32],
    described: String,
}

#[derive(Default)]
struct Table {
    slots: HashMap<Key, (Slot, u64)>,
    /// Counts uses; what was used longest ago goes first.
    clock: u64,
}

impl Uploads {
    /// The place of a file, empty or not.
    pub(super) fn slot(&self, number: &PhoneNumberId, file: &NewFile) -> Slot {
        let key = Key {
            number: number.clone(),
            sha256: file.sha256(),
            described: file.described(),
        };
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.clock += 1;
        let now = table.clock;
        if let Some((slot, used)) = table.slots.get_mut(&key) {
            *used = now;
            return Arc::clone(slot);
        }
        if table.slots.len() >= MOST {
            let oldest = table.slots.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                table.slots.remove(&oldest);
            }
        }
        let slot = Slot::default();
        table.slots.insert(key, (Arc::clone(&slot), now));
        slot
    }

    /// A file seems not to be up any more.
    pub(super) fn forget(&self, id: &MediaId) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        // A slot that is locked is being filled just now.
        table.slots.retain(|_, (slot, _)| {
            slot.try_lock()
                .is_none_or(|slot| slot.as_ref().is_none_or(|held| held.media.id() != id))
        });
    }
}

impl fmt::Debug for Uploads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        write!(f, "Uploads({})", table.slots.len())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use domain::message::MediaKind;

    use super::*;

    fn file(text: &str) -> NewFile {
        NewFile::new(
            MediaKind::Document,
            Bytes::copy_from_slice(text.as_bytes()),
            None,
            None,
        )
    }

    #[test]
    fn the_table_is_bounded_and_forgets_what_was_used_longest_ago() {
        let uploads = Uploads::default();
        let number = PhoneNumberId::parse("1").unwrap();
        let first = uploads.slot(&number, &file("0"));
        let second = uploads.slot(&number, &file("1"));
        for nth in 2..=MOST {
            // The first stays in use.
            assert!(Arc::ptr_eq(&first, &uploads.slot(&number, &file("0"))));
            uploads.slot(&number, &file(&nth.to_string()));
        }
        assert_eq!(format!("{uploads:?}"), format!("Uploads({MOST})"));
        assert!(Arc::ptr_eq(&first, &uploads.slot(&number, &file("0"))));
        assert!(!Arc::ptr_eq(&second, &uploads.slot(&number, &file("1"))));
    }

    #[test]
    fn every_number_has_its_own_files() {
        let uploads = Uploads::default();
        let slot = |number: &str| uploads.slot(&PhoneNumberId::parse(number).unwrap(), &file("x"));
        assert!(Arc::ptr_eq(&slot("1"), &slot("1")));
        assert!(!Arc::ptr_eq(&slot("1"), &slot("2")));
    }
}
