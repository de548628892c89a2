//! A message of ours goes out: the head of its chat's lane, under the lane's lease.
//!
//! | outcome | message | task |
//! |---|---|---|
//! | accepted | `sent` | done |
//! | retry later, also when its file does not get up in time | stays `queued` | waits, counted; after the last attempt `parked` |
//! | its endpoint cannot be reached, and it certainly did not go out | stays `queued` | waits, not counted, until the endpoint answers; `parked` when its own time is over |
//! | rate limited | stays `queued` | waits, not counted, and with it every other chat of the account; at the Cloud API those of whoever was too fast |
//! | its token is not taken (Cloud API) | stays `queued` | waits, not counted, and with it every other chat of the account, until it is |
//! | unknown (Cloud API) | `unknown` | waits for a report that tells what became of it; put aside when none comes |
//! | rejected | `failed` | done |
//! | unknown, sending again changes nothing | `unknown` | repeated with the same id; after the last attempt put aside |
//! | unknown, sending again is another message | `unknown` | put aside: never sent again by itself |
//! | its file cannot be read now | stays `queued` | as retry later |
//! | its file is nowhere | `parked` | put aside |
//! | the message it is about did not go out | `failed` | done |
//! | its tenant is suspended | stays `queued` | waits, not counted, until the tenant is resumed |
//! | its account's endpoint is not configured | stays `queued` | waits, not counted, until it is |
//! | it may have gone out through an endpoint that its account has left | `unknown` | put aside: never sent again |
//!
//! How long a call may take and how often a failure is repeated may be the tenant's own choice; of failures, only those count
//! for a tenant's choice that were answers of the endpoint.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cache::{CacheKey, Passed};
use chrono::TimeDelta;
use database::{Database, DatabaseError};
use domain::delivery::DeliveryStatus;
use domain::endpoint::Provider;
use domain::ids::{AccountId, ChatId};
use domain::message::{Media, MediaId, MediaSource, MessageKind};
use domain::retry::RetrySchedule;
use domain::tenant::TenantStatus;
use domain::text::Text;
use messaging::cause::left_by;
use messaging::lanes::{HandleTask, LaneError, Lease, Next, Task, Waits};
use messaging::outbox::Signal;
use runtime::encryption::KeyRing;
use secrecy::ExposeSecret as _;
use tenant_isolation::TenantTransaction;
use tokio::sync::{Semaphore, SemaphorePermit};
use whatsapp::cloud::NumberCredentials;
use whatsapp::credentials::SessionToken;
use whatsapp::port::{
    FileBytes, OperatorText, OutboundFile, OutboundMessage, RetryReason, SendMessage, SendOutcome,
    UnknownReason,
};

use super::cloud_pace::{CloudPace, Gates};
use super::cloud_trouble::{Asked, TOKEN_REFUSED, took_token};
use super::endpoint_away::{NO_FILE, Waiting};
use super::load_media::{LoadMedia, LoadedFile, MediaNotLoaded, Wanted};
use super::outbound_message::{self, Draft, Obstacle};
use super::pace::Pace;
use super::queue_message::SendTask;
use super::send_ruling::{Rules, Tries, rule_away};
use super::session::{ENDPOINT_CHANGED, Hearing};
use super::tenant_config::TenantConfigs;
use crate::config::PRIMARY;
use crate::endpoints::{Endpoints, LiveEndpoint};
use crate::media::file_type;
use crate::store::account::AccountRow;
use crate::store::message::OutboundRow;
use crate::store::{account, cloud_sending, message, tenant_move};
use crate::traffic::Traffic;

/// A wait that is over sooner is not worth letting go of the lane; any longer one would hold a place that others need.
const SHORT_WAIT: Duration = Duration::from_millis(5);
/// Over so long a time the chats of an account come back after a pause, lest they do so all at once.
const AFTER_PAUSE_MS: u64 = 1_000;

/// How often it is looked whether a suspended tenant was resumed.
const SUSPENDED_PAUSE: Duration = Duration::from_secs(30);

/// How often it is looked whether an endpoint is configured again.
const ENDPOINT_PAUSE: Duration = Duration::from_secs(10);

/// Whoever was at work while an account moved may have begun a task for the endpoint that it left, also one that was
/// enqueued while the move was being committed. No commit takes as long as this.
const MOVING: TimeDelta = TimeDelta::minutes(2);

/// Memory for files on their way out, in MiB. A file of the largest size and its base64 fit twice.
const FILE_MEMORY_MIB: usize = 512;
const MIB: u64 = 1024 * 1024;

/// Files on their way out: where they come from, and how many fit into memory at once.
pub struct OutboundFiles {
    source: Arc<dyn LoadMedia>,
    memory: Semaphore,
}

impl OutboundFiles {
    /// Files from this source.
    #[must_use]
    pub fn new(source: Arc<dyn LoadMedia>) -> Self {
        Self {
            source,
            memory: Semaphore::new(FILE_MEMORY_MIB),
        }
    }
}

/// Sends what stands at the head of a lane.
pub struct Sender {
    /// The tables.
    pub db: Database,
    /// Opens the accounts' tokens.
    pub keys: KeyRing,
    /// The ways out.
    pub endpoints: Endpoints,
    /// What an account of the first endpoint sends with that has no token of its own.
    pub fallback_token: Option<SessionToken>,
    /// Files that go out with messages.
    pub files: OutboundFiles,
    /// How fast an account may send.
    pub account_pace: Pace,
    /// How fast a tenant may send.
    pub tenant_pace: Pace,
    /// How fast numbers of the Cloud API may send.
    pub cloud: CloudPace,
    /// When a failure is repeated.
    pub retries: RetrySchedule,
    /// How long one call may take, unless the tenant has a limit of its own.
    pub timeout: Duration,
    /// What tenants have chosen for themselves.
    pub configs: TenantConfigs,
    /// Wakes the relay.
    pub relay: Signal,
    /// Sends that were taken are followed by events.
    pub hearing: Hearing,
    /// Counts what went out, and what did not.
    pub traffic: Traffic,
}

/// A message and what is needed to send it.
struct Ready {
    account: AccountId,
    /// Kept until the message is out, whatever becomes of the table meanwhile.
    endpoint: Arc<LiveEndpoint>,
    token: SessionToken,
    row: OutboundRow,
    kind: MessageKind,
    draft: Draft,
    /// What it passes on its way to Meta.
    gates: Option<Gates>,
    /// It tells whether its account's token is taken again.
    tells: bool,
}

impl Ready {
    fn is_cloud(&self) -> bool {
        self.endpoint.provider == Provider::Cloud
    }
}

/// What to do with a head before anything is sent.
enum Head {
    Send(Box<Ready>),
    /// Nothing may go out for so long, for this reason.
    Held(Duration, &'static str),
    /// Its endpoint cannot be reached; the next look is due after so long.
    Away(Arc<LiveEndpoint>, Waiting, Duration),
    /// It needs no sending: evidence came that it went out, or it is not there any more.
    Settled,
    /// It may have gone out through an endpoint that its account has left.
    Elsewhere,
    /// It cannot be sent as things are.
    Impossible(&'static str),
    /// It never will be.
    Hopeless(&'static str),
}

impl HandleTask for Sender {
    /// Just before the call: whatever breaks before it, the message certainly did not go out.
    const BEGINS_ITSELF: bool = true;

    async fn handle(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        let (request_id, place) = serde_json::from_str(&task.payload)
            .map(|task: SendTask| (task.request_id, task.traceparent))
            .unwrap_or_default();
        left_by(
            "send message",
            request_id,
            place,
            lease.scope(),
            self.work(lease, task),
        )
        .await
    }
}

impl Sender {
    async fn work(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        let ready = match self.head(lease, task).await? {
            Head::Send(ready) => ready,
            Head::Held(wait, reason) => return self.wait(lease, task, wait, reason).await,
            Head::Away(endpoint, waiting, wait) => {
                return self.hold(lease, task, &endpoint, waiting, wait).await;
            }
            Head::Settled => return self.settle(lease, task).await,
            Head::Elsewhere => return self.give_up_unknown(lease, task, ENDPOINT_CHANGED, "").await,
            Head::Impossible(reason) => return self.give_up(lease, task, reason).await,
            Head::Hopeless(reason) => return self.fail(lease, task, reason).await,
        };
        let may_repeat = ready.endpoint.sender.resend_safety(ready.kind).may_repeat()
            || ready.is_cloud() && self.cloud.settings.repeat_unknown;
        if ready.is_cloud() && !may_repeat {
            if ready.row.status == DeliveryStatus::Unknown.as_str() {
                return self.await_report(lease, task, &ready.row).await;
            }
            if task.begun > task.failures {
                return self.begin_to_await(lease, task, &ready.endpoint).await;
            }
        }
        if task.begun > task.failures && !may_repeat {
            // A worker died with this message in hand and the provider would make a second one of it.
            let endpoint = ready.endpoint.name.as_str();
            return self
                .give_up_unknown(lease, task, "outcome_unknown", endpoint)
                .await;
        }
        let passed = match self.ask_pace(lease, &ready).await {
            Ok(passed) => passed,
            Err(wait) => return self.wait(lease, task, wait, "own_rate_limit").await,
        };
        let config = self.configs.of(lease.scope()).await;
        let config = config.map_err(|error| DatabaseError::Unavailable(Box::new(error)))?;
        let answered = self
            .answered_before(lease, task, &config, ready.is_cloud())
            .await?;
        let started = Instant::now();
        let Ready {
            account,
            endpoint,
            token,
            row,
            kind,
            draft,
            gates,
            tells,
        } = *ready;
        let provider = endpoint.sender.as_ref();
        let is_cloud = endpoint.provider == Provider::Cloud;
        let tries = Tries {
            config: &config,
            answered,
            is_cloud,
            failures: task.failures,
        };
        let waiting = Waiting::of(&row, task);
        let (mut begun, mut is_taken_again) = (None, false);
        let ruling = match self.with_file(provider, is_cloud, draft).await {
            Ok((message, _memory)) => {
                let limit = message.time_within(config.message_timeout().unwrap_or(self.timeout));
                if let Err(wait) = endpoint.outage.ask(limit) {
                    return self.hold(lease, task, &endpoint, waiting, wait).await;
                }
                let called = Instant::now();
                let outcome = match prepare_within(provider, limit, &token, &message).await {
                    Ok(()) => {
                        begun = Some(lease.begin(&self.db, task).await?);
                        send_within(provider, limit, &token, &message).await
                    }
                    Err(failed) => failed,
                };
                let away = endpoint.outage.note(&outcome);
                metrics::histogram!("kanal_provider_send_seconds", "endpoint" => endpoint.name.to_string())
                    .record(called.elapsed());
                // Other servers tell nothing of what they sent.
                if endpoint.provider == Provider::Genfity && matches!(outcome, SendOutcome::Accepted { .. }) {
                    self.hearing.spoke(lease.scope(), account, kind, called);
                }
                // What was not begun was refused here, or with its file.
                is_taken_again = tells && begun.is_some() && took_token(&outcome);
                let throttled = match &gates {
                    Some(gates) => self.cloud.hear(gates, passed, &outcome).await,
                    None => None,
                };
                match away {
                    Some(wait) => rule_away(&endpoint, waiting, wait, outcome),
                    None => self
                        .rules()
                        .rule(tries, provider.resend_safety(kind), outcome)
                        .throttled(throttled)
                        .after_all_tries(waiting),
                }
            }
            Err(MediaNotLoaded::Later) => {
                let ruling = self.rules().try_later(tries, NO_FILE, None, None);
                ruling.after_all_tries(waiting)
            }
            Err(MediaNotLoaded::Never) => return self.give_up(lease, task, "media_missing").await,
        };
        let task = begun.as_ref().unwrap_or(task);
        let next = self
            .record(lease, task, &row, &endpoint, started.elapsed(), &ruling)
            .await?;
        if is_taken_again {
            self.release(lease, account).await?;
        }
        Ok(next)
    }

    /// Nobody was called: the place is given to another lane.
    pub(super) async fn wait(
        &self,
        lease: &Lease,
        task: &Task,
        wait: Duration,
        reason: &'static str,
    ) -> Result<Next, LaneError> {
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "wait before send").await?;
        lease.retry(&mut tx, task, wait, Waits::NotBegun, reason).await?;
        tx.commit().await?;
        Ok(Next::Wait)
    }

    fn rules(&self) -> Rules<'_> {
        Rules {
            retries: &self.retries,
            cloud: &self.cloud.settings,
            chance: rand::random(),
        }
    }

    async fn head(&self, lease: &Lease, task: &Task) -> Result<Head, LaneError> {
        let Ok(SendTask { message_id, .. }) = serde_json::from_str(&task.payload) else {
            return Ok(Head::Impossible("unreadable_task"));
        };
        let mut tx = TenantTransaction::begin(&self.db, lease.scope(), "load outbound message").await?;
        let row = match message::find_outbound(&mut tx, message_id).await {
            Ok(row) => row,
            Err(DatabaseError::NotFound) => return Ok(Head::Settled),
            Err(error) => return Err(error.into()),
        };
        let account_id = AccountId::from_uuid(row.account_id);
        let account = account::find(&mut tx, account_id).await?;
        let state = account::send_state(&mut tx, account_id).await?;
        let cloud_state = if account.provider == Provider::Cloud.as_str() {
            Some(cloud_sending::state(&mut tx, account_id).await?)
        } else {
            None
        };
        let draft = outbound_message::draft(&mut tx, &row, cloud_state.is_some()).await?;
        let is_live = matches!(
            row.status.parse(),
            Ok(DeliveryStatus::Queued | DeliveryStatus::Unknown)
        );
        let mut is_elsewhere = false;
        let is_of_before = state
            .moved_at
            .is_some_and(|moved_at| task.created_at < moved_at + MOVING);
        if is_live && is_of_before {
            // The move took the lanes of what was on its way: whoever had one of them stops here.
            lease.guard(&mut tx).await?;
            is_elsewhere =
                task.begun > task.failures || tenant_move::may_be_out_elsewhere(&mut tx, message_id).await?;
        }
        tx.commit().await?;
        if !is_live {
            return Ok(Head::Settled);
        }
        if is_elsewhere {
            return Ok(Head::Elsewhere);
        }
        // Every road out leads through here, and some messages were on theirs before the suspension.
        let tenant_status: Option<TenantStatus> = row
            .tenant_status
            .as_deref()
            .and_then(|status| status.parse().ok());
        if tenant_status == Some(TenantStatus::Suspended) {
            return Ok(Head::Held(SUSPENDED_PAUSE, "tenant_suspended"));
        }
        if let Some(pause) = state.pause {
            let apart = Duration::from_millis(rand::random_range(0..AFTER_PAUSE_MS));
            return Ok(Head::Held(pause + apart, "account_paused"));
        }
        let Some(endpoint) = self.endpoints.of_account(&account.provider, &account.endpoint) else {
            tracing::warn!(tenant = %lease.scope().tenant(), endpoint = account.endpoint,
                "a message waits for an endpoint that is not configured");
            let apart = Duration::from_millis(rand::random_range(0..AFTER_PAUSE_MS));
            return Ok(Head::Held(ENDPOINT_PAUSE + apart, "endpoint_missing"));
        };
        if let Err(wait) = endpoint.outage.look() {
            return Ok(Head::Away(endpoint, Waiting::of(&row, task), wait));
        }
        let token = match self.token(lease, &account) {
            Ok(token) => token,
            Err(reason) => return Ok(Head::Impossible(reason)),
        };
        let mut tells = false;
        if cloud_state.as_ref().is_some_and(|state| state.held.is_some()) {
            match self.is_taken_again(lease, account_id, &endpoint, &token).await? {
                Asked::Released => {}
                Asked::Tell => tells = true,
                Asked::Held => {
                    let apart = Duration::from_millis(rand::random_range(0..AFTER_PAUSE_MS));
                    return Ok(Head::Held(self.cloud.settings.probe_every + apart, TOKEN_REFUSED));
                }
            }
        }
        let number = NumberCredentials::parse(&token);
        let gates = cloud_state.zip(number).map(|(state, number)| {
            let chat = ChatId::from_uuid(row.chat_id);
            let place = endpoint.name.as_str();
            self.cloud
                .gates(lease.scope(), place, number.number(), &state, chat)
        });
        Ok(match draft {
            Ok(draft) => Head::Send(Box::new(Ready {
                gates,
                tells,
                account: account_id,
                endpoint,
                token,
                kind: draft.kind(),
                row,
                draft,
            })),
            Err(Obstacle::Unreadable) => Head::Impossible("unreadable_message"),
            Err(Obstacle::TargetNotSent) => Head::Hopeless("target_not_sent"),
        })
    }

    /// The message with its file, and the place in memory that the file takes until it is sent.
    async fn with_file(
        &self,
        provider: &dyn SendMessage,
        is_cloud: bool,
        draft: Draft,
    ) -> Result<(OutboundMessage, Option<SemaphorePermit<'_>>), MediaNotLoaded> {
        let (mut loaded, mut memory) = (None, None);
        if let Some(id) = draft.file().and_then(uploaded).filter(|_| is_cloud) {
            let file = OutboundFile::Uploaded(id);
            loaded = Some(LoadedFile {
                file,
                mime_type: None,
            });
        } else if let Some(media) = draft.file() {
            let wanted = if provider.takes_links(media.media_kind) && !self.files.source.holds(media) {
                Wanted::Link
            } else {
                // What is not told may be of the largest size.
                let most = FileBytes::MOST as u64;
                let mib = media
                    .size
                    .map_or(most, |size| size.min(most))
                    .div_ceil(MIB)
                    .max(1);
                // Three for one: the bytes, and their base64 in the body. Meta takes them as they are.
                let copies = if is_cloud { 1 } else { 3 };
                let permits = u32::try_from(copies * mib).unwrap_or(u32::MAX);
                memory = self.files.memory.acquire_many(permits).await.ok();
                Wanted::Bytes { most: mib * MIB }
            };
            let mut file = self.files.source.load(media, wanted).await?;
            // Meta refuses a file that is declared as something else.
            if is_cloud && file.mime_type.is_none() {
                file.mime_type = type_of(&file.file);
            }
            loaded = Some(file);
        }
        let message = draft.complete(loaded).ok_or(MediaNotLoaded::Never)?;
        Ok((message, memory))
    }

    /// What the account sends with: its own token, else, at the endpoint whose session that is, the one for all who
    /// have none.
    fn token(&self, lease: &Lease, account: &AccountRow) -> Result<SessionToken, &'static str> {
        let Some(sealed) = account.token_sealed.as_deref() else {
            let fallback = self
                .fallback_token
                .clone()
                .filter(|_| account.endpoint == PRIMARY);
            return fallback.ok_or("no_session");
        };
        let id = AccountId::from_uuid(account.id);
        let binding = account::token_binding(lease.scope().tenant(), id);
        let token = self
            .keys
            .open(sealed, &binding)
            .map_err(|_| "token_does_not_open")?;
        SessionToken::new(token.expose_secret()).map_err(|_| "unreadable_message")
    }

    async fn ask_pace(&self, lease: &Lease, ready: &Ready) -> Result<Passed, Duration> {
        if let Some(gates) = &ready.gates {
            loop {
                match self.cloud.ask(gates).await {
                    Ok(passed) => return Ok(passed),
                    Err(wait) if wait > SHORT_WAIT => return Err(wait),
                    Err(wait) => tokio::time::sleep(wait).await,
                }
            }
        }
        let account = CacheKey::of_tenant(lease.scope(), "send_rate", &ready.account.to_string());
        let tenant = CacheKey::of_tenant(lease.scope(), "send_rate", "all");
        for (pace, key) in [(&self.account_pace, account), (&self.tenant_pace, tenant)] {
            while let Err(wait) = pace.ask(&key).await {
                if wait > SHORT_WAIT {
                    return Err(wait);
                }
                tokio::time::sleep(wait).await;
            }
        }
        Ok(Passed { was_closed: false })
    }
}

/// What a file is, by its content.
fn type_of(file: &OutboundFile) -> Option<Text> {
    match file {
        OutboundFile::Bytes(bytes) => Some(file_type::detect(bytes.as_slice()))
            .filter(|found| *found != file_type::UNKNOWN)
            .map(|found| Text::new(found.mime)),
        _ => None,
    }
}

/// The id of a file that Meta has already.
fn uploaded(media: &Media) -> Option<MediaId> {
    media.sources.iter().find_map(|source| match source {
        MediaSource::Graph(file) => Some(file.id.clone()),
        _ => None,
    })
}

/// Does what comes before sending. Longer than it may take it is not waited for, and nothing has gone out.
async fn prepare_within(
    provider: &dyn SendMessage,
    limit: Duration,
    token: &SessionToken,
    message: &OutboundMessage,
) -> Result<(), SendOutcome> {
    let prepared = tokio::time::timeout(limit, provider.prepare(token, message)).await;
    prepared.unwrap_or_else(|_| {
        Err(SendOutcome::RetryLater {
            reason: RetryReason::UploadUnanswered,
            after: None,
            detail: OperatorText::default(),
        })
    })
}

/// Sends a message, unless its calls take longer than they may: then nobody knows whether it went out.
async fn send_within(
    provider: &dyn SendMessage,
    limit: Duration,
    token: &SessionToken,
    message: &OutboundMessage,
) -> SendOutcome {
    let sent = tokio::time::timeout(limit, provider.send(token, message)).await;
    sent.unwrap_or_else(|_| SendOutcome::Unknown {
        reason: UnknownReason::Timeout,
        detail: OperatorText::default(),
    })
}
