//! A chat as people read it: a page of its messages with what was reacted to them, what they answer, and their files.

use std::collections::{HashMap, HashSet};

use database::{Database, DatabaseError};
use domain::ids::{AccountId, ChatId, MessageId};
use domain::message::MessageContent;
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::gate::files::References;
use crate::store::chat::{self, ChatRow};
use crate::store::gate_media::{self, UploadRow};
use crate::store::takeover::{self, TakeoverRow};
use crate::store::thread::{self, End, QuotedRow, SenderRow, ThreadRow};

/// Messages of one page.
pub const PAGE: i64 = 50;

/// A message, and what is shown with it.
pub struct Said {
    /// The message.
    pub row: ThreadRow,
    /// What it says; none where a later release wrote what we cannot read.
    pub content: Option<MessageContent>,
    /// What people put under it, one of each.
    pub reactions: Vec<String>,
    /// The message it answers, where it is in this chat.
    pub quoted: Option<QuotedRow>,
    /// The file that goes out with it, while we have it.
    pub upload: Option<UploadRow>,
}

/// A page of a chat.
pub struct Thread {
    /// The chat.
    pub chat: ChatRow,
    /// The account it is on.
    pub sender: SenderRow,
    /// Who has taken it over.
    pub takeover: Option<TakeoverRow>,
    /// The messages, oldest first.
    pub messages: Vec<Said>,
    /// There are older ones.
    pub is_older: bool,
    /// It ends with the newest message.
    pub is_newest: bool,
    /// Another one than before, when something about the chat's newest messages is another.
    pub mark: String,
}

/// What is behind a chat's id.
pub enum Opened {
    /// The chat.
    Here(Box<Thread>),
    /// It turned out to be another one.
    Became(ChatId),
    /// The tenant has no such chat, or the chat no such message.
    Nothing,
}

/// Opens a page of a chat. With `read`, nothing in the chat is unread afterwards.
///
/// # Errors
/// [`DatabaseError`].
pub async fn open(
    db: &Database,
    scope: &TenantScope,
    references: &References,
    id: ChatId,
    end: End,
    read: bool,
) -> Result<Opened, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "open thread").await?;
    let mut row = match chat::find(&mut tx, id).await {
        Ok(row) => row,
        Err(DatabaseError::NotFound) => {
            let became = thread::merged_into(&mut tx, id).await?;
            tx.commit().await?;
            return Ok(became.map_or(Opened::Nothing, Opened::Became));
        }
        Err(error) => return Err(error),
    };
    if read && row.unread != 0 {
        chat::lock(&mut tx, &[row.id]).await?;
        chat::mark_read(&mut tx, &[row.id]).await?;
        row.unread = 0;
    }
    // Before the messages: what changes between the two is then seen as a change.
    let mark = thread::mark(&mut tx, id, PAGE).await?.unwrap_or_default();
    let Some(mut rows) = thread::page(&mut tx, id, end, PAGE + 1).await? else {
        tx.commit().await?;
        return Ok(Opened::Nothing);
    };
    let whole = usize::try_from(PAGE).unwrap_or(usize::MAX);
    let is_older = rows.len() > whole;
    rows.truncate(whole);
    rows.reverse();
    let account = AccountId::from_uuid(row.account_id);
    let messages = with_all(&mut tx, references, account, id, rows).await?;
    let sender = thread::sender(&mut tx, id).await?;
    let takeover = takeover::active(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Opened::Here(Box::new(Thread {
        chat: row,
        sender,
        takeover,
        messages,
        is_older,
        is_newest: end == End::Newest,
        mark,
    })))
}

/// Gathers what is shown with messages, of all of them at once.
async fn with_all(
    tx: &mut TenantTransaction,
    references: &References,
    account: AccountId,
    chat: ChatId,
    rows: Vec<ThreadRow>,
) -> Result<Vec<Said>, DatabaseError> {
    let scope = tx.scope().clone();
    let names = |row: &ThreadRow| [Some(row.provider_message_id.clone()), row.ordered_as.clone()];
    let known: Vec<String> = rows.iter().flat_map(names).flatten().collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let mut reactions = reactions(tx, account, chat, &known).await?;
    let about = |row: &ThreadRow| [row.quoted.clone(), row.target.clone()];
    let meant: HashSet<String> = rows.iter().flat_map(about).flatten().collect();
    let meant: Vec<&str> = meant.iter().map(String::as_str).collect();
    let quoted = if meant.is_empty() {
        Vec::new()
    } else {
        thread::quoted(tx, account, chat, &meant).await?
    };
    let contents: Vec<Option<MessageContent>> = rows
        .iter()
        .map(|row| serde_json::from_str(&row.content).ok())
        .collect();
    let file = |content: &Option<MessageContent>| references.meant(&scope, content.as_ref()?.media()?);
    let files: Vec<Option<Uuid>> = contents.iter().map(file).collect();
    let ids: Vec<Uuid> = files.iter().flatten().copied().collect();
    let uploads: HashMap<Uuid, UploadRow> = if ids.is_empty() {
        HashMap::new()
    } else {
        let rows = gate_media::uploads(tx, &ids).await?;
        rows.into_iter().map(|row| (row.id, row)).collect()
    };
    let find = |row: &ThreadRow| {
        let id = row.quoted.as_deref().or(row.target.as_deref())?;
        let is_meant =
            |other: &&QuotedRow| other.provider_message_id == id || other.ordered_as.as_deref() == Some(id);
        quoted.iter().find(is_meant).cloned()
    };
    let said = rows.into_iter().zip(contents).zip(files);
    Ok(said
        .map(|((row, content), file)| {
            let mut put: Vec<String> = names(&row)
                .into_iter()
                .flatten()
                .flat_map(|id| reactions.remove(&id).unwrap_or_default())
                .collect();
            put.sort();
            put.dedup();
            Said {
                quoted: find(&row),
                upload: file.and_then(|id| uploads.get(&id).cloned()),
                reactions: put,
                row,
                content,
            }
        })
        .collect())
}

/// The emojis under messages: of each person the last one, unless it was taken away.
async fn reactions(
    tx: &mut TenantTransaction,
    account: AccountId,
    chat: ChatId,
    targets: &[&str],
) -> Result<HashMap<String, Vec<String>>, DatabaseError> {
    let mut last: HashMap<(String, String, Option<String>), Option<String>> = HashMap::new();
    if !targets.is_empty() {
        for row in thread::reactions(tx, account, chat, targets).await? {
            if let Ok(MessageContent::Reaction { emoji, target: _ }) = serde_json::from_str(&row.content) {
                let emoji = emoji.map(|emoji| emoji.as_str().to_owned());
                last.insert((row.target, row.direction, row.sender), emoji);
            }
        }
    }
    let mut under: HashMap<String, Vec<String>> = HashMap::new();
    for ((target, ..), emoji) in last {
        if let Some(emoji) = emoji {
            under.entry(target).or_default().push(emoji);
        }
    }
    Ok(under)
}

/// What can be seen to change while somebody looks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// The chat's; empty where none is open, or it is no more.
    pub thread: String,
    /// The list's.
    pub list: String,
}

/// The marks of a chat and of the list as they are now.
///
/// # Errors
/// [`DatabaseError`].
pub async fn marks(db: &Database, scope: &TenantScope, chat: Option<ChatId>) -> Result<Marks, DatabaseError> {
    let mut tx = TenantTransaction::begin(db, scope, "look at chats").await?;
    let thread = match chat {
        Some(chat) => thread::mark(&mut tx, chat, PAGE).await?.unwrap_or_default(),
        None => String::new(),
    };
    let list = crate::store::chat_list::mark(&mut tx, super::chat_list::PAGE).await?;
    tx.commit().await?;
    Ok(Marks { thread, list })
}

/// The provider's id of a message that somebody wants to answer. `None`: the chat has no such message.
pub(super) async fn answered(
    tx: &mut TenantTransaction,
    chat: ChatId,
    message: MessageId,
) -> Result<Option<String>, DatabaseError> {
    thread::provider_id(tx, chat, message).await
}
