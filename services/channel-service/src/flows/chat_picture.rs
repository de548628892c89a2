//! The picture that a person shows of themselves: looked at when the person writes, off the road of the message, and then
//! not again for some days. No provider tells of a new picture by itself.
//!
//! | what happens | the next look | told (`chat.profile`) |
//! |---|---|---|
//! | there is another picture, or the first | after the set days | it is kept, and told |
//! | it is the same | after the set days | once more: somebody may have come who has not heard of it |
//! | there is none (any more), or it is hidden | after the set days | where there was one: that it is gone |
//! | the provider or the picture cannot be had, or it is no picture | after a quarter of an hour, doubled each time | nothing |
//!
//! A look that is lost on its way, with the process or because too many wait, is begun by the person's next message.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::Utc;
use database::DatabaseError;
use domain::address::ChatAddress;
use domain::ids::{AccountId, ChatId, MessageId};
use domain::message::MediaKind;
use messaging::Envelope;
use messaging::events::chat_profile::{ChatProfile, ProfilePicture};
use messaging::events::message_received::{ChatPartner, MediaLink};
use messaging::outbox::{NewRow, Signal, enqueue};
use tenant_isolation::{TenantScope, TenantTransaction};
use tokio::sync::mpsc;
use url::Url;
use uuid::Uuid;
use whatsapp::picture::{FindPicture, Picture};

use super::courtesy::{Courtesies, Way};
use super::fetch_url::FileClient;
use crate::config::PictureSettings;
use crate::media::{Announced, KeepError, KeptFile, MediaLinks, MediaStorage, ObjectKey};
use crate::store::chat_picture::{Look, PictureRow};
use crate::store::media::StoredFile;
use crate::store::{account, chat_picture};

/// Wishes that may wait.
const QUEUE: usize = 1_000;
/// Chats that are remembered for having been wished for.
const REMEMBERED: usize = 50_000;
/// For how long they are.
const FOR: Duration = Duration::from_secs(60 * 60);
/// Longest look, the download included.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The pause after a first look that failed; it doubles. It is also how long a look is nobody else's.
const AGAIN: Duration = Duration::from_secs(15 * 60);
/// What people's pictures are.
const KINDS: [&str; 3] = ["image/jpeg", "image/png", "image/webp"];

/// A chat whose person has just written.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Whose chat.
    pub scope: TenantScope,
    /// Which.
    pub chat: ChatId,
}

/// Where it is said that somebody wrote. Never waits, and may forget. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PictureWishes {
    queue: mpsc::Sender<Wish>,
    lately: Arc<Mutex<Lately>>,
}

#[derive(Debug)]
struct Lately {
    chats: HashSet<ChatId>,
    since: Instant,
}

impl PictureWishes {
    /// The way in, and the way out.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Wish>) {
        let (queue, wishes) = mpsc::channel(QUEUE);
        let lately = Lately {
            chats: HashSet::new(),
            since: Instant::now(),
        };
        let lately = Arc::new(Mutex::new(lately));
        (Self { queue, lately }, wishes)
    }

    /// A person wrote.
    pub fn wrote(&self, wish: Wish) {
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        if lately.chats.len() >= REMEMBERED || lately.since.elapsed() >= FOR {
            lately.chats.clear();
            lately.since = Instant::now();
        }
        let chat = wish.chat;
        if lately.chats.insert(chat) && self.queue.try_send(wish).is_err() {
            // The next message asks again.
            lately.chats.remove(&chat);
            metrics::counter!("kanal_profile_pictures_total", "outcome" => "crowded").increment(1);
        }
    }
}

/// Looks at pictures.
pub struct PictureLooks {
    /// The ways to the providers.
    pub ways: Courtesies,
    /// Where files lie.
    pub storage: MediaStorage,
    /// How they are handed out.
    pub links: MediaLinks,
    /// Fetches from addresses.
    pub files: FileClient,
    /// How.
    pub settings: PictureSettings,
    /// After how long the next one is.
    pub every: Duration,
    /// Rung when there is something to tell.
    pub relay: Signal,
}

/// A look that has begun.
pub struct Begun {
    scope: TenantScope,
    look: Look,
    row: PictureRow,
    way: Way,
    pictures: Arc<dyn FindPicture>,
}

/// What was seen.
enum Seen {
    Nothing,
    Same(Picture),
    Another(Picture, KeptFile),
}

impl PictureLooks {
    /// Begins a look. `None`: it is not time, or nobody can be asked.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn begin(&self, wish: Wish) -> Result<Option<Begun>, DatabaseError> {
        let Wish { scope, chat } = wish;
        let mut tx = TenantTransaction::begin(&self.ways.db, &scope, "begin to look at picture").await?;
        let Some(row) = chat_picture::find(&mut tx, chat).await?.filter(|row| row.is_due) else {
            return Ok(None);
        };
        let account = match account::find(&mut tx, AccountId::from_uuid(row.account_id)).await {
            Ok(account) => account,
            Err(DatabaseError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Ok(address) = ChatAddress::parse(&row.address) else {
            return Ok(None);
        };
        let way = self.ways.way(&scope, &account, address);
        let Some(way) = way.filter(|way| way.endpoint.outage.look().is_ok()) else {
            return Ok(None);
        };
        let Some(pictures) = way.endpoint.pictures.clone() else {
            return Ok(None);
        };
        let fence = Uuid::now_v7();
        let look = Look { chat, fence };
        if !chat_picture::begin(&mut tx, look, AGAIN).await? {
            return Ok(None);
        }
        tx.commit().await?;
        Ok(Some(Begun {
            scope,
            look,
            row,
            way,
            pictures,
        }))
    }

    /// Looks, and writes down and tells what was seen.
    ///
    /// # Errors
    /// [`DatabaseError`]; then there is another look later.
    pub async fn look(&self, begun: Begun) -> Result<(), DatabaseError> {
        let looking = tokio::time::timeout(PATIENCE, self.see(&begun));
        let outcome = match looking.await.unwrap_or(Err("timeout")) {
            Ok(seen) => self.record(&begun, seen).await?,
            Err(reason) => {
                tracing::debug!(tenant = %begun.scope.tenant(), reason, "a profile picture cannot be had");
                let doublings = u32::try_from(begun.row.failures).unwrap_or(0).min(16);
                let next = (AGAIN * 2_u32.pow(doublings)).min(self.every.max(AGAIN));
                let mut tx =
                    TenantTransaction::begin(&self.ways.db, &begun.scope, "picture not seen").await?;
                chat_picture::failed(&mut tx, begun.look, next).await?;
                tx.commit().await?;
                reason
            }
        };
        metrics::counter!("kanal_profile_pictures_total", "outcome" => outcome).increment(1);
        Ok(())
    }

    async fn see(&self, begun: &Begun) -> Result<Seen, &'static str> {
        let found = begun.pictures.find(&begun.way.token, &begun.way.address).await;
        let Some(picture) = found.map_err(|error| error.reason)? else {
            return Ok(Seen::Nothing);
        };
        let row = &begun.row;
        if row.picture_id.is_some() && picture.id.is_some() && picture.id == row.whatsapp_id {
            return Ok(Seen::Same(picture));
        }
        let url = Url::parse(&picture.url).map_err(|_| "url_invalid")?;
        if !self.settings.hosts.allow(&url) && !begun.pictures.is_own(&url) {
            tracing::warn!(
                host = url.host_str().unwrap_or_default(),
                "a profile picture lies where PROFILE_PICTURE_HOSTS does not lead; it is not fetched"
            );
            return Err("url_foreign");
        }
        let limit = self.settings.limit;
        let bytes = self.files.get(&picture.url, limit).await;
        let bytes = bytes.map_err(|error| match error {
            whatsapp::download::DownloadError::Later { reason, .. }
            | whatsapp::download::DownloadError::Never { reason } => reason,
        })?;
        let key = ObjectKey::generate(begun.scope.tenant(), Utc::now().date_naive());
        let announced = Announced {
            kind: MediaKind::Image,
            declared: None,
        };
        let kept = match self.storage.keep(key, limit, &announced, bytes).await {
            Ok(kept) => kept,
            Err(KeepError::TooLarge) => return Err("too_large"),
            Err(KeepError::Empty) => return Err("empty"),
            Err(KeepError::Source(_)) => return Err("connection_cut"),
            Err(KeepError::Storage(error)) => {
                tracing::warn!(error = %crate::error::chain(&error), "the object store failed");
                return Err("storage_unavailable");
            }
        };
        let is_picture = kept.content.suspicion.is_none() && KINDS.contains(&kept.content.file_type.mime);
        if !is_picture {
            self.take_back(&kept.key).await;
            return Err("no_picture");
        }
        if row.sha256.as_ref() == Some(&kept.sha256) {
            self.take_back(&kept.key).await;
            return Ok(Seen::Same(picture));
        }
        Ok(Seen::Another(picture, kept))
    }

    async fn record(&self, begun: &Begun, seen: Seen) -> Result<&'static str, DatabaseError> {
        let (look, next) = (begun.look, self.every);
        let mut tx = TenantTransaction::begin(&self.ways.db, &begun.scope, "picture seen").await?;
        let (outcome, is_ours, tells) = match &seen {
            Seen::Nothing => {
                let had_one = begun.row.picture_id.is_some();
                let ours = chat_picture::replace(&mut tx, look, None, None, next).await?;
                ("none", ours, had_one.then_some(None))
            }
            Seen::Same(picture) => {
                let ours = chat_picture::unchanged(&mut tx, look, picture.id.as_deref(), next).await?;
                ("same", ours, self.known(begun).map(Some))
            }
            Seen::Another(picture, kept) => {
                let (id, file) = (Uuid::now_v7(), StoredFile::from(kept.clone()));
                let whatsapp_id = picture.id.as_deref();
                let ours = chat_picture::replace(&mut tx, look, whatsapp_id, Some((id, &file)), next).await?;
                let told = self.told(begun, id, file.sha256, file.mime_type, file.size);
                ("another", ours, Some(Some(told)))
            }
        };
        if !is_ours {
            drop(tx);
            if let Seen::Another(_, kept) = &seen {
                self.take_back(&kept.key).await;
            }
            return Ok("superseded");
        }
        let is_told = tells.is_some();
        if let Some(picture) = tells {
            enqueue(&mut tx, vec![outbox_row(begun, picture)?]).await?;
        }
        tx.commit().await?;
        if is_told {
            self.relay.ring();
        }
        Ok(outcome)
    }

    /// The picture that is kept already.
    fn known(&self, begun: &Begun) -> Option<ProfilePicture> {
        let row = &begun.row;
        Some(self.told(
            begun,
            row.picture_id?,
            row.sha256.clone()?,
            row.mime_type.as_deref()?,
            u64::try_from(row.size?).ok()?,
        ))
    }

    fn told(&self, begun: &Begun, id: Uuid, sha256: String, mime_type: &str, size: u64) -> ProfilePicture {
        let url = self
            .links
            .of(begun.scope.tenant(), MessageId::from_uuid(id))
            .internal;
        ProfilePicture {
            sha256,
            mime_type: mime_type.to_owned(),
            size,
            media: MediaLink { url },
        }
    }

    /// What stays behind here is found by the sweep.
    async fn take_back(&self, key: &ObjectKey) {
        if let Err(error) = self.storage.delete(key).await {
            tracing::warn!(error = %crate::error::chain(&error), "a superfluous object was not deleted");
        }
    }
}

/// Behind everything that was told of the chat.
fn outbox_row(begun: &Begun, picture: Option<ProfilePicture>) -> Result<NewRow, DatabaseError> {
    let row = &begun.row;
    let event = ChatProfile {
        account_id: AccountId::from_uuid(row.account_id),
        chat_id: begun.look.chat,
        partner: ChatPartner {
            address: row.address.clone(),
            phone: row.phone.clone(),
            name: row.name.clone(),
        },
        picture,
        at: Utc::now(),
    };
    let envelope =
        Envelope::new(&begun.scope, &event).map_err(|error| DatabaseError::Refused(error.into()))?;
    Ok(NewRow {
        lane: begun.look.chat.to_string(),
        envelope,
    })
}
