//! The object store: a local directory or a bucket. Files go in piece by piece, are measured and hashed on the way and
//! are never held whole.

use std::fmt;
use std::io::Cursor;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, NaiveDate, Utc};
use domain::ids::TenantId;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutPayload, RetryConfig,
    WriteMultipart,
};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::inspection::{Announced, Inspected, StoredBytes, inspect};
use crate::config::{S3Settings, StorageSettings};

/// What is sent to the store at once, and the most that is buffered before anything is; S3's smallest part.
const PART: usize = 5 * 1024 * 1024;
/// Parts under way at once.
const PARTS_AT_ONCE: usize = 2;

/// The store's own trouble. Its text may name paths: for the log, not for callers.
pub type StorageError = object_store::Error;

/// The name of an object. Made here only: no part of it comes from outside unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectKey(Path);

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFile {
    /// Under which name.
    pub key: ObjectKey,
    /// What it is, by its content, and whether it may be handed out.
    pub content: Inspected,
    /// How many bytes.
    pub size: u64,
    /// SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
}

/// Why a file was not stored. Nothing is left behind then.
#[derive(Debug, thiserror::Error)]
pub enum KeepError<E> {
    /// It is larger than we keep.
    #[error("the file is too large")]
    TooLarge,
    /// There was nothing in it.
    #[error("the file is empty")]
    Empty,
    /// It did not come.
    #[error("the file did not come")]
    Source(E),
    /// The store failed.
    #[error("the object store failed")]
    Storage(#[source] StorageError),
}

/// An object that is being read.
pub struct OpenFile {
    /// Its whole size.
    pub size: u64,
    /// The store's own mark of this version.
    pub mark: Option<String>,
    /// Which bytes are coming.
    pub range: Range<u64>,
    /// They.
    pub bytes: BoxStream<'static, Result<Bytes, StorageError>>,
}

/// An object that was found by a sweep.
pub struct FoundObject {
    /// Its name.
    pub key: ObjectKey,
    /// When it was written.
    pub written: DateTime<Utc>,
}

/// Where files lie. Cheap to clone.
#[derive(Clone)]
pub struct MediaStorage {
    store: Arc<dyn ObjectStore>,
}

impl fmt::Debug for MediaStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MediaStorage({})", self.store)
    }
}

impl ObjectKey {
    const TENANTS: &'static str = "tenants";

    /// A new name for a tenant's file: 128 random bits under the tenant's and the day's folder, so that a sweep of the
    /// last days need not look at years.
    #[must_use]
    pub fn generate(tenant: &TenantId, today: NaiveDate) -> Self {
        let random = hex::encode(rand::random::<[u8; 16]>());
        Self(Self::folder(tenant, today).join(random))
    }

    /// The folder of one tenant and day. Its first letter keeps a tenant called `..` a plain name.
    fn folder(tenant: &TenantId, day: NaiveDate) -> Path {
        Path::from_iter([
            Self::TENANTS.to_owned(),
            format!("t-{tenant}"),
            day.format("%Y-%m-%d").to_string(),
        ])
    }

    /// The name of an uploaded file. Both parts must have been checked.
    #[must_use]
    pub(crate) fn upload(scope: &str, file: &str) -> Self {
        Self(Path::from_iter(["public", scope, file]))
    }

    /// A name that was stored in the database.
    ///
    /// # Errors
    /// When it is no name of an object.
    pub fn parse(text: &str) -> Result<Self, object_store::path::Error> {
        Path::parse(text).map(Self)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_ref()
    }
}

impl MediaStorage {
    /// Opens the store. A local directory is made when it is missing; a bucket is not asked.
    ///
    /// # Errors
    /// When the directory cannot be made, or the bucket's settings contradict each other.
    pub fn open(settings: &StorageSettings) -> anyhow::Result<Self> {
        let store: Arc<dyn ObjectStore> = match settings {
            StorageSettings::Directory(path) => {
                std::fs::create_dir_all(path)?;
                Arc::new(LocalFileSystem::new_with_prefix(path)?)
            }
            StorageSettings::S3(s3) => Arc::new(bucket(s3)?),
        };
        Ok(Self { store })
    }

    /// A store over any backend, for tests.
    #[must_use]
    pub fn over(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    /// Stores a file of at most `limit` bytes as it comes, and looks what it is.
    ///
    /// # Errors
    /// [`KeepError`].
    pub async fn keep<E>(
        &self,
        key: ObjectKey,
        limit: u64,
        announced: &Announced<'_>,
        mut source: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<KeptFile, KeepError<E>> {
        let mut writing = Writing::new(self.store.as_ref(), &key.0);
        let mut size: u64 = 0;
        let mut hash = Sha256::new();
        let outcome = loop {
            match source.next().await {
                None if size == 0 => break Err(KeepError::Empty),
                None => break Ok(()),
                Some(Err(error)) => break Err(KeepError::Source(error)),
                Some(Ok(bytes)) => {
                    size = size.saturating_add(bytes.len() as u64);
                    if size > limit {
                        break Err(KeepError::TooLarge);
                    }
                    hash.update(&bytes);
                    if let Err(error) = writing.push(&bytes).await {
                        break Err(KeepError::Storage(error));
                    }
                }
            }
        };
        match outcome {
            Ok(()) => {
                let whole = writing.finish().await.map_err(KeepError::Storage)?;
                let looked = self.look(&key, size, whole, announced).await;
                let content = match looked {
                    Ok(content) => content,
                    Err(error) => {
                        // It is fetched once more, so this one would be nobody's.
                        let _ = self.delete(&key).await;
                        return Err(KeepError::Storage(error));
                    }
                };
                Ok(KeptFile {
                    key,
                    content,
                    size,
                    sha256: hex::encode(hash.finalize()),
                })
            }
            Err(error) => {
                writing.abort().await;
                Err(error)
            }
        }
    }

    /// Looks what a file is that was just stored: in memory where it is `whole`, else in the store.
    async fn look(
        &self,
        key: &ObjectKey,
        size: u64,
        whole: Option<Bytes>,
        announced: &Announced<'_>,
    ) -> Result<Inspected, StorageError> {
        let (kind, declared) = (announced.kind, announced.declared.map(str::to_owned));
        let (store, path) = (Arc::clone(&self.store), key.0.clone());
        let runtime = Handle::current();
        let looking = tokio::task::spawn_blocking(move || {
            let announced = Announced {
                kind,
                declared: declared.as_deref(),
            };
            match whole {
                Some(bytes) => inspect(&mut Cursor::new(bytes), &announced),
                None => inspect(&mut StoredBytes::new(store, path, size, runtime), &announced),
            }
        });
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| StorageError::Generic {
            store: "inspection",
            source,
        };
        match looking.await {
            Ok(Ok(content)) => Ok(content),
            Ok(Err(error)) => Err(failed(error.into())),
            // A file that makes a reader fail would do it again.
            Err(error) => {
                tracing::error!(%error, "a file could not be looked into");
                Ok(Inspected::UNREADABLE)
            }
        }
    }

    /// Stores a small file whole.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), StorageError> {
        self.store.put(&key.0, PutPayload::from(bytes)).await.map(drop)
    }

    /// Reads an object, or a part of it. `None`: there is none.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn read(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<Option<OpenFile>, StorageError> {
        let options = GetOptions {
            range: range.map(GetRange::Bounded),
            ..GetOptions::default()
        };
        match self.store.get_opts(&key.0, options).await {
            Ok(found) => Ok(Some(OpenFile {
                size: found.meta.size,
                mark: found.meta.e_tag.clone(),
                range: found.range.clone(),
                bytes: found.into_stream(),
            })),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes an object; one that is not there is as good as deleted.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        match self.store.delete(&key.0).await {
            Ok(()) | Err(StorageError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Does it answer, and may we look into it? Asks for a file that nobody has.
    pub async fn answers(&self) -> bool {
        let nothing = Path::from("doctor/nobody-has-this");
        matches!(
            self.store.head(&nothing).await,
            Ok(_) | Err(object_store::Error::NotFound { .. })
        )
    }

    /// Tenants that have files.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn tenants(&self) -> Result<Vec<TenantId>, StorageError> {
        let listed = self
            .store
            .list_with_delimiter(Some(&Path::from(ObjectKey::TENANTS)))
            .await?;
        Ok(listed
            .common_prefixes
            .iter()
            .filter_map(|folder| folder.parts().next_back())
            .filter_map(|name| TenantId::parse(name.as_ref().strip_prefix("t-")?).ok())
            .collect())
    }

    /// A tenant's files that were begun on one day.
    pub fn files_of(
        &self,
        tenant: &TenantId,
        day: NaiveDate,
    ) -> impl Stream<Item = Result<FoundObject, StorageError>> + Unpin + use<> {
        let folder = ObjectKey::folder(tenant, day);
        self.store.list(Some(&folder)).map_ok(|meta| FoundObject {
            key: ObjectKey(meta.location),
            written: meta.last_modified,
        })
    }
}

/// A file on its way into the store: small ones go in one call, larger ones in parts. Whoever drops it halfway, because
/// nobody waits for the file any more, leaves no parts behind.
struct Writing<'a> {
    store: &'a dyn ObjectStore,
    path: &'a Path,
    buffer: BytesMut,
    parts: Option<WriteMultipart>,
    runtime: Handle,
}

impl<'a> Writing<'a> {
    fn new(store: &'a dyn ObjectStore, path: &'a Path) -> Self {
        Self {
            store,
            path,
            buffer: BytesMut::new(),
            parts: None,
            runtime: Handle::current(),
        }
    }

    async fn push(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        if let Some(parts) = &mut self.parts {
            parts.wait_for_capacity(PARTS_AT_ONCE).await?;
            parts.write(bytes);
            return Ok(());
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() > PART {
            let upload = self.store.put_multipart(self.path).await?;
            let mut parts = WriteMultipart::new_with_chunk_size(upload, PART);
            let begun = self.buffer.split().freeze();
            parts.put(begun);
            self.parts = Some(parts);
        }
        Ok(())
    }

    /// The whole file, if it was small enough to be in memory.
    async fn finish(mut self) -> Result<Option<Bytes>, StorageError> {
        if let Some(parts) = self.parts.take() {
            // On a task of its own: when nobody waits any more, it ends as an object that the sweep finds, not as parts.
            let finishing = self.runtime.spawn(parts.finish());
            finishing.await.map_err(|error| StorageError::Generic {
                store: "upload",
                source: error.into(),
            })??;
            return Ok(None);
        }
        let bytes = self.buffer.split().freeze();
        self.store.put(self.path, PutPayload::from(bytes.clone())).await?;
        Ok(Some(bytes))
    }

    async fn abort(mut self) {
        if let Some(taking_back) = self.take_back() {
            let _ = taking_back.await;
        }
    }

    /// Goes on when nobody waits for it.
    fn take_back(&mut self) -> Option<JoinHandle<()>> {
        let parts = self.parts.take()?;
        Some(self.runtime.spawn(async move {
            if let Err(error) = parts.abort().await {
                tracing::warn!(error = %crate::error::chain(&error), "a half-written object could not be taken back");
            }
        }))
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        drop(self.take_back());
    }
}

fn bucket(s3: &S3Settings) -> Result<object_store::aws::AmazonS3, StorageError> {
    use secrecy::ExposeSecret as _;

    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&s3.bucket)
        .with_region(&s3.region)
        .with_access_key_id(&s3.access_key_id)
        .with_secret_access_key(s3.secret_access_key.expose_secret())
        // The library waits for minutes by default; a webhook cannot.
        .with_retry(RetryConfig {
            max_retries: 3,
            retry_timeout: Duration::from_secs(15),
            ..RetryConfig::default()
        });
    let mut client = ClientOptions::new()
        .with_connect_timeout(Duration::from_secs(5))
        .with_timeout(Duration::from_secs(60));
    if let Some(endpoint) = &s3.endpoint {
        client = client.with_allow_http(endpoint.url().scheme() == "http");
        builder = builder.with_endpoint(endpoint.as_str());
    }
    builder.with_client_options(client).build()
}

#[cfg(test)]
mod tests {
    use domain::message::MediaKind;
    use futures_util::stream;
    use object_store::memory::InMemory;

    use super::*;
    use crate::media::inspection::Suspicion;

    type Piece = Result<Bytes, &'static str>;

    async fn keep(
        store: &MediaStorage,
        limit: u64,
        pieces: Vec<Piece>,
    ) -> Result<KeptFile, KeepError<&'static str>> {
        let tenant = TenantId::parse("..").unwrap();
        let key = ObjectKey::generate(&tenant, Utc::now().date_naive());
        let announced = Announced {
            kind: MediaKind::Image,
            declared: Some("image/jpeg"),
        };
        store.keep(key, limit, &announced, stream::iter(pieces)).await
    }

    async fn contents(store: &MediaStorage, key: &ObjectKey, range: Option<Range<u64>>) -> Vec<u8> {
        let open = store.read(key, range).await.unwrap().unwrap();
        let pieces: Vec<Bytes> = open.bytes.try_collect().await.unwrap();
        pieces.concat()
    }

    fn backends() -> (tempfile::TempDir, [MediaStorage; 2]) {
        let directory = tempfile::tempdir().unwrap();
        let local = MediaStorage::open(&StorageSettings::Directory(directory.path().join("files"))).unwrap();
        (directory, [local, MediaStorage::over(Arc::new(InMemory::new()))])
    }

    #[tokio::test]
    async fn small_and_large_files_come_back_as_they_were() {
        let (_directory, backends) = backends();
        for store in backends {
            for size in [1, PART, PART + 1, 3 * PART + 17] {
                let mut bytes = b"\xff\xd8\xff\xe0\0\x10JFIF\0".to_vec();
                bytes.resize(size.max(11), 7);
                let pieces = bytes
                    .chunks(100_000)
                    .map(|piece| Ok(Bytes::copy_from_slice(piece)))
                    .collect();
                let kept = keep(&store, 1 << 30, pieces).await.unwrap();
                assert_eq!(
                    (kept.size, kept.content.file_type.mime),
                    (bytes.len() as u64, "image/jpeg")
                );
                assert_eq!(kept.sha256, hex::encode(Sha256::digest(&bytes)));
                assert!(kept.key.as_str().starts_with("tenants/t-../"), "{:?}", kept.key);
                assert_eq!(ObjectKey::parse(kept.key.as_str()).unwrap(), kept.key);
                assert!(contents(&store, &kept.key, None).await == bytes);
                assert_eq!(contents(&store, &kept.key, Some(1..5)).await, bytes[1..5]);
                store.delete(&kept.key).await.unwrap();
                store.delete(&kept.key).await.unwrap();
                assert!(store.read(&kept.key, None).await.unwrap().is_none());
            }
        }
    }

    #[tokio::test]
    async fn large_files_are_looked_into_where_they_lie() {
        let (_directory, backends) = backends();
        for store in backends {
            let large = [&b"\xff\xd8\xff\xe0\0\x10JFIF\0"[..], &vec![7; 2 * PART]].concat();
            let archive = zip::ZipWriter::new(Cursor::new(Vec::new()))
                .finish()
                .unwrap()
                .into_inner();
            for (bytes, suspicion) in [
                (large.clone(), None),
                ([&large[..], &archive].concat(), Some(Suspicion::Polyglot)),
            ] {
                let pieces = bytes
                    .chunks(100_000)
                    .map(|piece| Ok(Bytes::copy_from_slice(piece)))
                    .collect();
                let kept = keep(&store, 1 << 30, pieces).await.unwrap();
                assert_eq!(kept.content.suspicion, suspicion);
            }
        }
    }

    #[tokio::test]
    async fn what_fails_half_way_leaves_nothing_behind() {
        let part = || Ok(Bytes::from(vec![0; PART]));
        let (_directory, backends) = backends();
        for store in backends {
            let tenants = || store.tenants();
            let broken = keep(&store, 1 << 30, vec![part(), part(), Err("cut")])
                .await
                .unwrap_err();
            assert!(matches!(broken, KeepError::Source("cut")));
            let large = keep(
                &store,
                2 * PART as u64,
                vec![part(), part(), Ok(Bytes::from_static(b"x"))],
            )
            .await;
            assert!(matches!(large.unwrap_err(), KeepError::TooLarge));
            let small = keep(&store, 3, vec![Ok(Bytes::from_static(b"1234"))]).await;
            assert!(matches!(small.unwrap_err(), KeepError::TooLarge));
            assert!(matches!(
                keep(&store, 3, vec![]).await.unwrap_err(),
                KeepError::Empty
            ));
            let today = Utc::now().date_naive();
            for tenant in tenants().await.unwrap() {
                assert_eq!(store.files_of(&tenant, today).count().await, 0);
            }
        }
    }

    #[tokio::test]
    async fn a_sweep_finds_files_by_tenant_and_day() {
        let (_directory, backends) = backends();
        for store in backends {
            let kept = keep(&store, 9, vec![Ok(Bytes::from_static(b"x"))]).await.unwrap();
            let tenants = store.tenants().await.unwrap();
            assert_eq!(tenants, [TenantId::parse("..").unwrap()]);
            let today = Utc::now().date_naive();
            let found: Vec<FoundObject> = store.files_of(&tenants[0], today).try_collect().await.unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].key, kept.key);
        }
    }
}
