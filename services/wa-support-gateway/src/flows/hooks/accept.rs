//! Taking a webhook of the WA server in: whose it is, whether it is genuine, and then all of it in one transaction.

use std::net::IpAddr;

use bytes::Bytes;
use cache::{CacheKey, ReadThrough, RedisLink};
use chrono::Utc;
use database::{Database, DatabaseError};
use domain::message::{Direction, InboundMessage, MessageKind};
use messaging::lanes;
use messaging::outbox::Signal;
use runtime::encryption::KeyRing;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use tenant_isolation::resolve::{ExternalId, Resolved, resolve};
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;
use whatsapp::credentials::WebhookKey;
use whatsapp::event::{InboundEvent, SessionEvent};
use whatsapp::genfity::{EventList, SignatureCheck, Unverified, Verified};

use super::{HookErrand, ReadErrand};
use crate::error::Error;
use crate::flows::look_guard::LookGuard;
use crate::secrets;
use crate::store::hooked_sessions::{self, Standing};
use crate::store::{directory, hook_events};

/// Sessions that one process keeps at hand.
const CACHED: u64 = 100_000;

/// How long a session's key is believed. Nobody has to take it back: a key that was changed works for so long at most.
const FRESH: std::time::Duration = std::time::Duration::from_secs(1);

/// Most characters of an event's type.
const LONGEST_TYPE: usize = 64;

/// What an event is called that cannot be read; it is passed on all the same.
const UNREADABLE: &str = "unreadable";

/// Takes webhooks in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Hooks {
    db: Database,
    keys: KeyRing,
    cache: ReadThrough<Hook>,
    looks: LookGuard,
    /// Most bytes held for one session.
    queue_bytes: i64,
    /// Rung when there is something to pass on.
    pub(crate) waiting: Signal,
    /// Rung when there is something to mark as read.
    pub(crate) unread: Signal,
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

/// A session's hook, as it is kept at hand: the key stays sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Hook {
    resolved: Resolved,
    hmac_key_sealed: String,
}

/// Who posts to a hook: a session, and the key that proves it.
#[derive(Debug)]
pub(crate) struct Sender {
    /// Whose session it is.
    pub(crate) scope: TenantScope,
    session: Uuid,
    key: WebhookKey,
}

/// A webhook as it came.
pub(crate) struct Webhook {
    pub(crate) content_type: Option<String>,
    pub(crate) signature: Option<String>,
    pub(crate) body: Bytes,
    pub(crate) request_id: Option<String>,
    /// Its place in a trace.
    pub(crate) traceparent: Option<trace_context::TraceContext>,
}

/// What became of a webhook that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// It waits for the customer's receiver.
    Queued,
    /// The customer wants to hear nothing of it.
    Unwanted,
}

impl Accepted {
    /// One word for the metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Unwanted => "unwanted",
        }
    }
}

/// What a genuine webhook says, as far as it concerns us.
#[derive(Default)]
struct Content {
    event_type: String,
    standing: Option<Standing>,
    unread: Option<ReadErrand>,
}

impl Hooks {
    pub(crate) fn new(db: Database, keys: KeyRing, redis: RedisLink, queue_bytes: i64) -> Self {
        Self {
            db: db.keeping_plans(),
            keys,
            cache: ReadThrough::short_lived(redis, CACHED, FRESH),
            looks: LookGuard::default(),
            queue_bytes,
            waiting: Signal::default(),
            unread: Signal::default(),
        }
    }

    /// Who posts to the hook of this name, calling from this address. `None`: no session has it.
    ///
    /// # Errors
    /// [`Error::TooManyWrongKeys`]; a database that cannot be asked is never "unknown".
    pub(crate) async fn sender(&self, hook: &str, address: Option<IpAddr>) -> Result<Option<Sender>, Error> {
        // One spelling: an id in capitals is another name.
        let Some(external) = Uuid::try_parse(hook)
            .ok()
            .filter(|id| id.to_string() == hook)
            .and_then(|_| ExternalId::new(directory::SESSION_HOOK, hook))
        else {
            return Ok(None);
        };
        let key = CacheKey::of_external(&external);
        let look = || self.looks.look(&key, address, || self.load(&external));
        let Some(hook) = self.cache.get(&key, look).await? else {
            return Ok(None);
        };
        self.looks.met(&key).await;
        let (scope, session) = (hook.resolved.scope(), hook.resolved.subject());
        let key = self
            .keys
            .open(&hook.hmac_key_sealed, &secrets::hmac_key_binding(&scope, session))?;
        let key = WebhookKey::new(key.expose_secret())
            .map_err(|_| Error::Internal("a session's webhook key is none"))?;
        Ok(Some(Sender { scope, session, key }))
    }

    async fn load(&self, external: &ExternalId) -> Result<Option<Hook>, DatabaseError> {
        let Some(resolved) = resolve(&self.db, external).await? else {
            return Ok(None);
        };
        let mut tx = TenantTransaction::begin(&self.db, &resolved.scope(), "find hook").await?;
        let key = hooked_sessions::hmac_key_sealed(&mut tx, resolved.subject()).await?;
        tx.commit().await?;
        Ok(key.map(|hmac_key_sealed| Hook {
            resolved,
            hmac_key_sealed,
        }))
    }

    /// Accepts a webhook: when this returns `Ok`, everything that follows from it is committed.
    ///
    /// # Errors
    /// [`Error::HookRefused`] when the sender did not sign it, [`Error::HookFull`]; nothing is kept then.
    pub(crate) async fn accept(&self, sender: Sender, webhook: Webhook) -> Result<Accepted, Error> {
        let content = content(&sender, &webhook)?;
        let session = sender.session;
        let mut tx = TenantTransaction::begin(&self.db, &sender.scope, "accept webhook").await?;
        let wishes = hooked_sessions::hold(&mut tx, session)
            .await?
            .ok_or(Error::HookRefused)?;
        let queued = wishes.has_receiver && wants(&wishes.events, &content.event_type);
        if queued {
            let event = Uuid::now_v7();
            let errand = HookErrand {
                request_id: webhook.request_id,
                traceparent: webhook.traceparent,
            };
            lanes::enqueue(&mut tx, &task(errand.task(session, event))?).await?;
            let new = hook_events::NewEvent {
                id: event,
                session,
                content_type: webhook.content_type.as_deref(),
                event_type: &content.event_type,
                body: &webhook.body,
            };
            if !hook_events::insert(&mut tx, &new, self.queue_bytes).await? {
                return Err(Error::HookFull);
            }
        } else {
            hook_events::count_unwanted(&mut tx, session).await?;
        }
        let unread = content.unread.filter(|_| wishes.auto_read);
        let is_unread = unread.is_some();
        if let Some(errand) = unread {
            lanes::enqueue(&mut tx, &task(errand.task(session))?).await?;
        }
        if let Some(standing) = &content.standing {
            hooked_sessions::set_standing(&mut tx, session, standing).await?;
        }
        tx.commit().await?;
        if queued {
            self.waiting.ring();
        }
        if is_unread {
            self.unread.ring();
        }
        Ok(if queued {
            Accepted::Queued
        } else {
            Accepted::Unwanted
        })
    }
}

fn task<T>(made: Result<T, serde_json::Error>) -> Result<T, Error> {
    made.map_err(|_| Error::Internal("a task could not be written"))
}

/// The WA server was asked for more than the customer wants where messages are marked as read. A list that nobody can
/// read keeps nothing back.
fn wants(events: &str, event_type: &str) -> bool {
    event_type == UNREADABLE || EventList::parse(events).map_or(true, |list| list.wants(event_type))
}

/// Checks the signature over the bytes as they came, before anything looks into them, and reads what concerns us.
fn content(sender: &Sender, webhook: &Webhook) -> Result<Content, Error> {
    let mut check = SignatureCheck::new(std::slice::from_ref(&sender.key));
    check.update(&webhook.body);
    let proof = check.passes(webhook.signature.as_deref()).map_err(|error| {
        tracing::warn!(
            reason = error.code(),
            "a webhook is not signed by its session's key"
        );
        Error::HookRefused
    })?;
    let Ok(unverified) = Unverified::read(webhook.content_type.as_deref(), webhook.body.clone()) else {
        metrics::counter!("kanal_hook_events_unreadable_total").increment(1);
        return Ok(Content {
            event_type: UNREADABLE.to_owned(),
            ..Content::default()
        });
    };
    Ok(of_event(&unverified.proven(proof), webhook))
}

fn of_event(verified: &Verified, webhook: &Webhook) -> Content {
    let event_type = verified
        .event_type()
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST_TYPE)
        .collect();
    let mut content = Content {
        event_type,
        ..Content::default()
    };
    match verified.parse(Utc::now()) {
        Ok(InboundEvent::Message(message)) => content.unread = unread(*message, webhook),
        Ok(InboundEvent::Session(event)) => content.standing = Some(standing(event)),
        // What we cannot use is the customer's all the same.
        Ok(_) | Err(_) => {}
    }
    content
}

/// The message to mark as read: a person's own words to the session, and not what was done to a message before. Groups,
/// broadcasts and status posts never come this far.
fn unread(message: InboundMessage, webhook: &Webhook) -> Option<ReadErrand> {
    let is_read = message.direction == Direction::Inbound
        && !matches!(
            message.content.kind(),
            MessageKind::Reaction | MessageKind::PollVote | MessageKind::Edit | MessageKind::Revoke
        );
    is_read.then(|| ReadErrand {
        request_id: webhook.request_id.clone(),
        traceparent: webhook.traceparent,
        chat: message.chat,
        message: message.provider_message_id,
    })
}

/// Where a session stands after an event of its own (wa-server contract 4 and 14).
fn standing(event: SessionEvent) -> Standing {
    let told = |connected, logged_in| Standing {
        connected: Some(connected),
        logged_in,
        jid: None,
    };
    match event {
        SessionEvent::Connected => told(true, Some(true)),
        // The client comes back by itself, and is paired still.
        SessionEvent::Disconnected | SessionEvent::ConnectFailure { .. } => told(false, None),
        SessionEvent::QrTimeout => told(false, Some(false)),
        SessionEvent::LoggedOut { .. } => Standing {
            jid: Some(String::new()),
            ..told(false, Some(false))
        },
        // The socket is up, and shows what is to be scanned.
        SessionEvent::Qr => told(true, Some(false)),
        SessionEvent::PairSuccess { jid, .. } => Standing {
            jid: jid.map(|jid| jid.to_string()),
            ..told(true, Some(true))
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_hears_what_it_asked_for_and_what_nobody_can_read() {
        assert!(wants("All", "Presence"));
        assert!(wants("Message,QR", "QR") && !wants("Message,QR", "Presence"));
        assert!(wants("Message", UNREADABLE));
        assert!(wants("what is this", "Message"));
        assert!(!wants("", "Message"));
    }
}
