//! The gate in the shape of Meta's Cloud API.

use std::time::Duration;

use cache::Rate;
use domain::retry::RetrySchedule;
use runtime::config::SettingsReader;

use super::{Milliseconds, rate};

/// How fast the gate may be used, and how it tells.
#[derive(Debug, Clone)]
pub struct GateSettings {
    /// Messages of one number.
    pub number_rate: Rate,
    /// Calls of one tenant.
    pub tenant_rate: Rate,
    /// What clients may put up.
    pub uploads: UploadLimits,
    /// Chats that are told of at once.
    pub concurrency: usize,
    /// Longest wait for a receiver's answer.
    pub timeout: Duration,
    /// When a failed webhook is repeated.
    pub retries: RetrySchedule,
    /// A webhook that is older when it fails is put aside.
    pub patience: Duration,
}

/// What one tenant may hold at once of files that were put up, until they age out or are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadLimits {
    /// Files.
    pub files: u64,
    /// Bytes of all of them together.
    pub bytes: u64,
}

impl GateSettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Option<Self> {
        let number_rate = rate(
            reader,
            "GATE_RATE_PER_NUMBER",
            "80",
            "Messages a second that the gate takes for one number; 130429 above it",
        );
        let tenant_rate = rate(
            reader,
            "GATE_RATE_PER_TENANT",
            "200",
            "Calls a second that the gate takes from one tenant; 80007 above it",
        );
        let files = reader.with_default(
            "GATE_MEDIA_FILES_PER_TENANT",
            "10000",
            "Files put up at the gate that one tenant holds at once; 131053 above it. A file is held for 30 days, or until it is deleted",
        );
        let bytes = reader.with_default(
            "GATE_MEDIA_BYTES_PER_TENANT",
            "5368709120",
            "Bytes of all of them together",
        );
        let concurrency = reader.with_default(
            "GATE_WEBHOOK_CONCURRENCY",
            "16",
            "Chats whose webhooks are posted at once in Meta's words",
        );
        let timeout: Option<Milliseconds> = reader.with_default(
            "GATE_WEBHOOK_TIMEOUT_MS",
            "10000",
            "Longest wait for the answer to such a webhook",
        );
        let attempts = reader.with_default(
            "GATE_WEBHOOK_ATTEMPTS",
            "20",
            "Attempts before such a webhook is put aside",
        );
        let first: Option<Milliseconds> = reader.with_default(
            "GATE_WEBHOOK_RETRY_FIRST_MS",
            "1000",
            "Wait after its first failure; it doubles",
        );
        let cap: Option<Milliseconds> =
            reader.with_default("GATE_WEBHOOK_RETRY_CAP_MS", "3600000", "Longest wait for it");
        let patience: Option<u32> = reader.with_default(
            "GATE_WEBHOOK_HOURS",
            "36",
            "A webhook that is older than this when it fails is put aside, whatever attempts it has left",
        );
        if concurrency == Some(0) {
            reader.problem("GATE_WEBHOOK_CONCURRENCY", "must be at least 1");
        }
        let retries = match RetrySchedule::new(first?.0, cap?.0, attempts?, 0.2) {
            Ok(retries) => Some(retries),
            Err(error) => {
                reader.problem(
                    "GATE_WEBHOOK_ATTEMPTS, GATE_WEBHOOK_RETRY_FIRST_MS, GATE_WEBHOOK_RETRY_CAP_MS",
                    &error.to_string(),
                );
                None
            }
        };
        Some(Self {
            number_rate: number_rate?,
            tenant_rate: tenant_rate?,
            uploads: UploadLimits {
                files: files?,
                bytes: bytes?,
            },
            concurrency: concurrency?,
            timeout: timeout?.0,
            retries: retries?,
            patience: Duration::from_secs(u64::from(patience?) * 3_600),
        })
    }
}
