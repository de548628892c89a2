//! A stored object as a file that can be read anywhere, for readers that know nothing of waiting.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use tokio::runtime::Handle;

/// What is fetched at once: directories are read piece by piece, and each call costs a way.
const WINDOW: u64 = 256 * 1024;
/// Most calls for one file. What is scattered further is made to be.
const MOST_CALLS: u32 = 1_000;

/// Reads parts of an object. Only on a thread that may wait.
pub(in crate::media) struct StoredBytes {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
    at: u64,
    window: (u64, Bytes),
    calls: u32,
    runtime: Handle,
}

impl StoredBytes {
    pub(in crate::media) fn new(store: Arc<dyn ObjectStore>, path: Path, size: u64, runtime: Handle) -> Self {
        Self {
            store,
            path,
            size,
            at: 0,
            window: (0, Bytes::new()),
            calls: 0,
            runtime,
        }
    }

    /// What is at hand of the bytes from here on.
    fn at_hand(&self) -> &[u8] {
        let (start, bytes) = &self.window;
        self.at
            .checked_sub(*start)
            .and_then(|skip| bytes.get(usize::try_from(skip).ok()?..))
            .unwrap_or_default()
    }
}

impl Read for StoredBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        if self.at_hand().is_empty() {
            self.calls += 1;
            if self.calls > MOST_CALLS {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let range = self.at..(self.at + WINDOW).min(self.size);
            let fetched = self.runtime.block_on(self.store.get_range(&self.path, range));
            self.window = (self.at, fetched.map_err(io::Error::other)?);
        }
        let read = self.at_hand().read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for StoredBytes {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
