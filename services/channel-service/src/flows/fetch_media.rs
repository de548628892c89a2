//! The file of a message is fetched: after the commit, on a lane of its own, so that nothing else waits for it.
//!
//! | what happens | the file | the task |
//! |---|---|---|
//! | a source gives it | `stored`, or `quarantined` when its content says so | done |
//! | it is larger than we keep | `too_large` | done |
//! | every source refuses for good | `failed` | done |
//! | a source may give it later | stays `pending` | waits, counted; after the last attempt the file is `failed` |
//! | our own store is away | stays `pending` | waits, not counted |
//! | the account's endpoint is not configured, and no other source has it | stays `pending` | waits, not counted |
//! | the endpoint cannot be reached, and no other source has it | stays `pending` | waits, not counted; `failed` when its time is over |

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use database::{Database, DatabaseError};
use domain::ids::{AccountId, MessageId, TenantId};
use domain::message::{Media, MediaSource, MediaState, MessageContent};
use domain::retry::{RetrySchedule, clamp_retry_after};
use domain::text::Text;
use futures_util::Stream;
use messaging::cause::{Cause, left_by};
use messaging::lanes::{HandleTask, LaneError, Lease, Next, Task, Waits};
use runtime::encryption::KeyRing;
use secrecy::ExposeSecret as _;
use tenant_isolation::TenantTransaction;
use tokio_util::sync::CancellationToken;
use whatsapp::credentials::SessionToken;
use whatsapp::download::{DownloadError, HeldFile, WantedFile};

use super::fetch_url::FileClient;
use super::media::{self as media_flow, FetchTask};
use super::tenant_config::TenantConfigs;
use crate::endpoints::outage::UNREACHABLE;
use crate::endpoints::{Endpoints, LiveEndpoint};
use crate::media::{Announced, KeepError, KeptFile, MediaStorage, ObjectKey};
use crate::store::media::StoredFile;
use crate::store::{account, media};

/// Longest wait for our own store; it is not the source's fault and does not count.
const STORAGE_WAIT: Duration = Duration::from_secs(30);
/// How often it is looked whether the account's endpoint is configured again.
const ENDPOINT_WAIT: Duration = Duration::from_secs(30);
/// Longest wait that a source may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// Fetches the file at the head of a lane.
pub struct MediaFetcher {
    /// The tables.
    pub db: Database,
    /// Opens the accounts' tokens.
    pub keys: KeyRing,
    /// Where files lie.
    pub storage: MediaStorage,
    /// The providers that hold files.
    pub endpoints: Endpoints,
    /// Fetches from addresses.
    pub files: FileClient,
    /// Largest file that is kept, in bytes.
    pub limit: u64,
    /// Longest fetch.
    pub timeout: Duration,
    /// What tenants have chosen for themselves.
    pub configs: TenantConfigs,
    /// When a failure is repeated.
    pub retries: RetrySchedule,
    /// Ends what is under way when the process ends; it is begun again then.
    pub stop: CancellationToken,
}

/// A file and where it can be had.
struct Wanted {
    message: MessageId,
    /// None when the message cannot be read any more.
    media: Option<Media>,
    /// The account's endpoint; none when it is not configured.
    endpoint: Option<Arc<LiveEndpoint>>,
    /// The session to ask with, where the account has one.
    token: Option<SessionToken>,
}

/// What came of one attempt.
enum Fetched {
    Stored(KeptFile),
    TooLarge,
    Later {
        reason: &'static str,
        after: Option<Duration>,
    },
    Never(&'static str),
    StorageAway,
    EndpointMissing,
    EndpointAway(Duration),
    Stopping,
}

impl Fetched {
    /// Says more than that another source has nothing.
    const fn may_still_come(&self) -> bool {
        matches!(
            self,
            Self::Later { .. } | Self::EndpointMissing | Self::EndpointAway(_)
        )
    }
}

impl HandleTask for MediaFetcher {
    async fn handle(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        let Cause {
            request_id,
            traceparent,
        } = Cause::of_payload(&task.payload);
        let work = self.work(lease, task);
        left_by("fetch file", request_id, traceparent, lease.scope(), work).await
    }
}

impl MediaFetcher {
    async fn work(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        let Some(wanted) = self.wanted(lease, task).await? else {
            let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "settle media task").await?;
            lease.done(&mut tx, task).await?;
            tx.commit().await?;
            return Ok(Next::Continue);
        };
        let fetching = tokio::time::timeout(self.timeout, self.fetch(lease.scope().tenant(), &wanted));
        let fetched = tokio::select! {
            fetched = fetching => fetched.unwrap_or(Fetched::Later { reason: "timeout", after: None }),
            () = self.stop.cancelled() => Fetched::Stopping,
        };
        // A file that is as old as a message may get that waits for its endpoint has so many tries left, as any other.
        let longest = wanted.endpoint.map(|endpoint| endpoint.outage.longest_wait());
        let waited = (Utc::now() - task.created_at).to_std().unwrap_or_default();
        let fetched = match fetched {
            Fetched::EndpointAway(_) if longest.is_some_and(|longest| waited >= longest) => Fetched::Later {
                reason: UNREACHABLE,
                after: None,
            },
            fetched => fetched,
        };
        self.record(lease, task, wanted.message, fetched).await
    }

    /// What the task is about. `None`: nothing is to be done any more.
    async fn wanted(&self, lease: &Lease, task: &Task) -> Result<Option<Wanted>, LaneError> {
        let Ok(FetchTask { message_id, .. }) = serde_json::from_str(&task.payload) else {
            return Ok(None);
        };
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "load pending media").await?;
        let Some(row) = media::find_pending(&mut tx, message_id).await? else {
            return Ok(None);
        };
        let account_id = AccountId::from_uuid(row.account_id);
        let account = match account::find(&mut tx, account_id).await {
            Ok(account) => Some(account),
            Err(DatabaseError::NotFound) => None,
            Err(error) => return Err(error.into()),
        };
        tx.commit().await?;
        let endpoint = account
            .as_ref()
            .and_then(|account| self.endpoints.of_account(&account.provider, &account.endpoint));
        let sealed = account.and_then(|account| account.token_sealed);
        let binding = account::token_binding(lease.scope().tenant(), account_id);
        let token = sealed
            .and_then(|sealed| self.keys.open(&sealed, &binding).ok())
            .and_then(|token| SessionToken::new(token.expose_secret()).ok());
        Ok(Some(Wanted {
            message: message_id,
            media: match serde_json::from_str(&row.content) {
                Ok(MessageContent::Media(media)) => Some(media),
                _ => None,
            },
            endpoint,
            token,
        }))
    }

    /// Tries the sources in their order. What may still come outweighs what will not.
    async fn fetch(&self, tenant: &TenantId, wanted: &Wanted) -> Fetched {
        let Some(media) = &wanted.media else {
            return Fetched::Never("unreadable_message");
        };
        let mut outcome = Fetched::Never("no_source");
        for source in &media.sources {
            let fetched = match source {
                MediaSource::S3 { url, .. } | MediaSource::Link { url } => {
                    match self.files.get(url, self.limit).await {
                        Ok(bytes) => self.keep(tenant, media, bytes).await,
                        Err(error) => error.into(),
                    }
                }
                MediaSource::WhatsApp(keys) => {
                    let held = HeldFile::Keys(keys.clone());
                    self.ask_provider(tenant, wanted, media, held).await
                }
                MediaSource::Server(file) => {
                    let held = HeldFile::Server(file.clone());
                    self.ask_provider(tenant, wanted, media, held).await
                }
                MediaSource::Graph(file) => {
                    let held = HeldFile::Graph(file.clone());
                    self.ask_provider(tenant, wanted, media, held).await
                }
                // It was there while the webhook was in hand.
                MediaSource::Inline { .. } => continue,
            };
            match fetched {
                Fetched::Stored(_) | Fetched::TooLarge | Fetched::StorageAway => return fetched,
                Fetched::Never(_) if outcome.may_still_come() => {}
                later_or_never => outcome = later_or_never,
            }
        }
        outcome
    }

    async fn ask_provider(
        &self,
        tenant: &TenantId,
        wanted: &Wanted,
        media: &Media,
        held: HeldFile,
    ) -> Fetched {
        let Some(token) = &wanted.token else {
            return Fetched::Later {
                reason: "no_session",
                after: None,
            };
        };
        let Some(endpoint) = &wanted.endpoint else {
            return Fetched::EndpointMissing;
        };
        let file = WantedFile {
            kind: media.media_kind,
            mime_type: media.mime_type.clone(),
            held,
        };
        if let Err(wait) = endpoint.outage.ask(self.timeout) {
            return Fetched::EndpointAway(wait);
        }
        let answer = endpoint.downloads.download(token, &file).await;
        if let Some(wait) = endpoint.outage.note_download(&answer) {
            return Fetched::EndpointAway(wait);
        }
        match answer {
            Ok(bytes) => self.keep(tenant, media, bytes).await,
            Err(error) => error.into(),
        }
    }

    async fn keep(
        &self,
        tenant: &TenantId,
        media: &Media,
        bytes: impl Stream<Item = Result<Bytes, DownloadError>> + Unpin,
    ) -> Fetched {
        let key = ObjectKey::generate(tenant, Utc::now().date_naive());
        let announced = Announced {
            kind: media.media_kind,
            declared: media.mime_type.as_ref().map(Text::as_str),
        };
        match self.storage.keep(key, self.limit, &announced, bytes).await {
            Ok(kept) => Fetched::Stored(kept),
            Err(KeepError::TooLarge) => Fetched::TooLarge,
            Err(KeepError::Empty) => Fetched::Never("empty"),
            Err(KeepError::Source(error)) => error.into(),
            Err(KeepError::Storage(error)) => {
                tracing::warn!(error = %crate::error::chain(&error), "the object store failed");
                Fetched::StorageAway
            }
        }
    }

    async fn record(
        &self,
        lease: &Lease,
        task: &Task,
        message: MessageId,
        fetched: Fetched,
    ) -> Result<Next, LaneError> {
        let failures = u32::try_from(task.failures).unwrap_or(0) + 1;
        let config = self.configs.of(lease.scope()).await;
        let config = config.map_err(|error| DatabaseError::Unavailable(Box::new(error)))?;
        let wait = self
            .retries
            .wait_after(failures, rand::random())
            .filter(|_| !config.gives_up_after(failures));
        match (fetched, wait) {
            (Fetched::Stored(kept), _) => self.record_stored(lease, task, message, kept).await,
            (Fetched::TooLarge, _) => {
                self.end(lease, task, message, MediaState::TooLarge, "too_large")
                    .await
            }
            (Fetched::Never(reason), _) | (Fetched::Later { reason, .. }, None) => {
                self.end(lease, task, message, MediaState::Failed, reason).await
            }
            (Fetched::Later { reason, after }, Some(wait)) => {
                let asked = after.map_or(wait, |after| clamp_retry_after(after, LONGEST_WAIT).max(wait));
                self.wait(lease, task, message, asked, reason, true).await
            }
            (Fetched::StorageAway, wait) => {
                let wait = wait.unwrap_or(STORAGE_WAIT).min(STORAGE_WAIT);
                self.wait(lease, task, message, wait, "storage_unavailable", false)
                    .await
            }
            (Fetched::EndpointMissing, _) => {
                self.wait(lease, task, message, ENDPOINT_WAIT, "endpoint_missing", false)
                    .await
            }
            (Fetched::EndpointAway(wait), _) => {
                self.wait(lease, task, message, wait, UNREACHABLE, false).await
            }
            (Fetched::Stopping, _) => {
                self.wait(lease, task, message, Duration::ZERO, "stopping", false)
                    .await
            }
        }
    }

    async fn record_stored(
        &self,
        lease: &Lease,
        task: &Task,
        message: MessageId,
        kept: KeptFile,
    ) -> Result<Next, LaneError> {
        let key = kept.key.clone();
        let (state, reason) = media_flow::state_of(&kept);
        let file = StoredFile::from(kept);
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "record media").await?;
        let wanted = media::set_stored(&mut tx, message, state, reason, &file).await?;
        let held = lease.done(&mut tx, task).await;
        if held.is_ok() {
            tx.commit().await?;
        }
        // Nothing refers to the object when the message was deleted meanwhile, or somebody else has the lane. After a
        // commit that nobody knows the outcome of it stays, and the sweep decides.
        let superfluous = !wanted || matches!(held, Err(LaneError::LeaseLost));
        if superfluous && let Err(error) = self.storage.delete(&key).await {
            tracing::warn!(error = %crate::error::chain(&error), "a superfluous object was not deleted");
        }
        held?;
        metrics::counter!("kanal_media_fetched_total", "outcome" => state.as_str()).increment(1);
        Ok(Next::Continue)
    }

    async fn end(
        &self,
        lease: &Lease,
        task: &Task,
        message: MessageId,
        state: MediaState,
        reason: &'static str,
    ) -> Result<Next, LaneError> {
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "give media up").await?;
        media::set_failure(&mut tx, message, state, reason).await?;
        lease.done(&mut tx, task).await?;
        tx.commit().await?;
        metrics::counter!("kanal_media_fetched_total", "outcome" => state.as_str()).increment(1);
        tracing::warn!(tenant = %lease.scope().tenant(), %message, reason, "a file cannot be had");
        Ok(Next::Continue)
    }

    async fn wait(
        &self,
        lease: &Lease,
        task: &Task,
        message: MessageId,
        time: Duration,
        reason: &'static str,
        counts: bool,
    ) -> Result<Next, LaneError> {
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "media has to wait").await?;
        if counts {
            media::set_failure(&mut tx, message, MediaState::Pending, reason).await?;
        }
        let waits = if counts { Waits::Failed } else { Waits::NotBegun };
        lease.retry(&mut tx, task, time, waits, reason).await?;
        tx.commit().await?;
        metrics::counter!("kanal_media_fetched_total", "outcome" => "retry_later").increment(1);
        Ok(Next::Wait)
    }
}

impl From<DownloadError> for Fetched {
    fn from(error: DownloadError) -> Self {
        match error {
            DownloadError::Later { reason, after } => Self::Later { reason, after },
            DownloadError::Never { reason: "too_large" } => Self::TooLarge,
            DownloadError::Never { reason } => Self::Never(reason),
        }
    }
}
