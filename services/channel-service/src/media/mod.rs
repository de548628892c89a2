//! Files: where they lie, what they are, and the links under which they are handed out. Owns the object store;
//! knows no tables.

mod documents;
pub mod file_type;
pub mod inspection;
mod links;
mod storage;

pub use documents::detect_upload;
pub use inspection::Announced;
pub use links::{LinkRefused, MediaLinks, MediaUrls};
pub use storage::{KeepError, KeptFile, MediaStorage, ObjectKey, OpenFile, StorageError};
