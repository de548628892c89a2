//! Files of messages and uploads.

use std::path::PathBuf;
use std::time::Duration;

use domain::retry::RetrySchedule;
use outbound_url::OutboundPolicy;
use runtime::config::{BaseUrl, Milliseconds, SettingsReader};
use secrecy::SecretString;

/// Where files lie, how they are fetched and how they are handed out.
#[derive(Debug, Clone)]
pub struct MediaSettings {
    /// Where they lie.
    pub storage: StorageSettings,
    /// Base of links for our own services.
    pub internal_url: BaseUrl,
    /// Base of links for browsers.
    pub public_url: BaseUrl,
    /// Largest file that is kept, in bytes.
    pub limit: u64,
    /// How long a link holds.
    pub link_lifetime: Duration,
    /// Files fetched at once.
    pub concurrency: usize,
    /// Longest fetch of one file.
    pub timeout: Duration,
    /// When a failed fetch is repeated.
    pub retries: RetrySchedule,
    /// Which private hosts may be asked for files.
    pub outbound: OutboundPolicy,
}

/// Where files lie.
#[derive(Debug, Clone)]
pub enum StorageSettings {
    /// On this machine.
    Directory(PathBuf),
    /// In a bucket.
    S3(S3Settings),
}

/// A bucket of S3, or of a server that speaks like it.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// Its name.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// Where it is, if not at Amazon's.
    pub endpoint: Option<BaseUrl>,
    /// Who we are there.
    pub access_key_id: String,
    /// And what proves it.
    pub secret_access_key: SecretString,
}

impl MediaSettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Option<Self> {
        let storage = StorageSettings::take(reader);
        let internal_url = reader.with_default(
            "MEDIA_INTERNAL_URL",
            "http://channel-service:3001/uploads",
            "Base of links to files for other services; must lead to `/uploads` of this one",
        );
        let public_url = reader.with_default(
            "MEDIA_PUBLIC_URL",
            "http://localhost:3001/uploads",
            "Base of links to files for browsers; must lead to `/uploads` of this service",
        );
        let limit = reader.with_default("MEDIA_LIMIT_BYTES", "104857600", "Largest file that is kept");
        let lifetime: Option<u64> = reader.with_default(
            "MEDIA_LINK_SECONDS",
            "604800",
            "How long a link to a message's file holds at least",
        );
        let concurrency = reader.with_default("MEDIA_CONCURRENCY", "4", "Files fetched at once");
        let timeout: Option<Milliseconds> =
            reader.with_default("MEDIA_TIMEOUT_MS", "600000", "Longest fetch of one file");
        let attempts = reader.with_default("MEDIA_ATTEMPTS", "10", "Attempts before a file counts as lost");
        let first: Option<Milliseconds> = reader.with_default(
            "MEDIA_RETRY_FIRST_MS",
            "2000",
            "Wait after the first failed fetch; it doubles",
        );
        let cap: Option<Milliseconds> = reader.with_default(
            "MEDIA_RETRY_CAP_MS",
            "1800000",
            "Longest wait between two fetches",
        );
        let outbound: Option<OutboundPolicy> = reader.optional(
            "OUTBOUND_ALLOWED_PRIVATE_HOSTS",
            "Private hosts and addresses that links in webhooks may lead to: `host:port`, or `host` for ports 80 and 443, or `host:*`, separated by commas",
        );
        if limit == Some(0) || concurrency == Some(0) || lifetime == Some(0) {
            reader.problem(
                "MEDIA_LIMIT_BYTES, MEDIA_CONCURRENCY, MEDIA_LINK_SECONDS",
                "must each be at least 1",
            );
        }
        let retries = match RetrySchedule::new(first?.0, cap?.0, attempts?, 0.2) {
            Ok(retries) => Some(retries),
            Err(error) => {
                reader.problem(
                    "MEDIA_ATTEMPTS, MEDIA_RETRY_FIRST_MS, MEDIA_RETRY_CAP_MS",
                    &error.to_string(),
                );
                None
            }
        };
        Some(Self {
            storage: storage?,
            internal_url: internal_url?,
            public_url: public_url?,
            limit: limit?,
            link_lifetime: Duration::from_secs(lifetime?),
            concurrency: concurrency?,
            timeout: timeout?.0,
            retries: retries?,
            outbound: outbound.unwrap_or_default(),
        })
    }
}

impl StorageSettings {
    fn take(reader: &mut SettingsReader) -> Option<Self> {
        let path: Option<String> = reader.with_default(
            "MEDIA_STORAGE_PATH",
            "./uploads",
            "Directory of files; not used with a bucket",
        );
        let bucket: Option<String> = reader.optional(
            "MEDIA_S3_BUCKET",
            "Keep files in this bucket instead of a directory",
        );
        let region = reader.with_default("MEDIA_S3_REGION", "us-east-1", "The bucket's region");
        let endpoint = reader.optional("MEDIA_S3_ENDPOINT", "Server of the bucket, if it is not Amazon's");
        let access_key_id: Option<String> = reader.optional("MEDIA_S3_ACCESS_KEY_ID", "Key of the bucket");
        let secret_access_key: Option<SecretString> =
            reader.optional("MEDIA_S3_SECRET_ACCESS_KEY", "Secret of that key");
        let Some(bucket) = bucket else {
            return Some(Self::Directory(PathBuf::from(path?)));
        };
        if access_key_id.is_none() || secret_access_key.is_none() {
            reader.problem(
                "MEDIA_S3_ACCESS_KEY_ID, MEDIA_S3_SECRET_ACCESS_KEY",
                "must both be set when MEDIA_S3_BUCKET is",
            );
        }
        Some(Self::S3(S3Settings {
            bucket,
            region: region?,
            endpoint,
            access_key_id: access_key_id?,
            secret_access_key: secret_access_key?,
        }))
    }
}
