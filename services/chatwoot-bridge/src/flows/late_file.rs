//! A file that came after its message's words: it follows as a message of its own that quotes them.

use std::time::Duration;

use chrono::Utc;
use messaging::events::message_received::ChatMessage;
use messaging::lanes::{Lease, NewTask, Task};
use serde::{Deserialize, Serialize};
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

use super::deliver_message::mark;
use super::incoming_file::{is_files_fault, message_file, too_large};
use super::look_back::{Asked, is_settled, look_back};
use super::render::{Way, render};
use super::work::late_file_task;
use super::{NotDone, Tools};
use crate::channel_files::Fetched;
use crate::chatwoot::{Author, ChatwootApi, ChatwootError, NewMessage};
use crate::store::inboxes;
use crate::store::message_links::{self, Intent, LATE_FILE, WHOLE};

/// How many times a message's own patience a late file is waited for: six hours of twenty seconds.
const GIVEN_UP_AFTER: u32 = 1_080;
/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// What is to be done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LateFile {
    /// The message whose words are in Chatwoot.
    pub message: ChatMessage,
    /// The tenant typed it on the phone.
    #[serde(default)]
    pub from_phone: bool,
}

impl LateFile {
    pub(super) fn of(message: &ChatMessage, way: Way) -> Self {
        Self {
            message: message.clone(),
            from_phone: way == Way::FromPhone,
        }
    }

    /// On a lane of its own: nothing waits for it. The same message makes the same task.
    pub(super) fn task(&self) -> Result<NewTask, NotDone> {
        let message = self.message.message_id;
        let id = Uuid::new_v5(&message.as_uuid(), b"late file");
        late_file_task(self, format!("file:{message}"), id)
            .map_err(|error| database::DatabaseError::Refused(Box::new(error)).into())
    }

    const fn way(&self) -> Way {
        if self.from_phone {
            Way::FromPhone
        } else {
            Way::FromPerson
        }
    }
}

/// The file's own mark, and what it quotes.
struct Marks<'a> {
    own: &'a str,
    quoted: &'a str,
    quoted_id: i64,
}

/// One file under way.
struct Bringing<'a> {
    tools: &'a Tools,
    lease: &'a Lease,
    task: &'a Task,
    late: &'a LateFile,
}

/// Brings the file, if it is there, and ends the task.
///
/// # Errors
/// [`NotDone`]: nothing about the task was written.
pub async fn bring_late_file(
    tools: &Tools,
    lease: &Lease,
    task: &Task,
    late: &LateFile,
) -> Result<(), NotDone> {
    let bringing = Bringing {
        tools,
        lease,
        task,
        late,
    };
    let outcome = bringing.run().await?;
    metrics::counter!("kanal_bridge_late_files_total", "outcome" => outcome).increment(1);
    Ok(())
}

impl Bringing<'_> {
    async fn run(&self) -> Result<&'static str, NotDone> {
        let message = &self.late.message;
        let (account, id) = (message.account_id, &message.provider_message_id);
        let mut tx = TenantTransaction::begin(&self.tools.db, self.lease.scope(), "find late file").await?;
        let words = message_links::find_part(&mut tx, account, id, WHOLE).await?;
        let asked = message_links::find_part(&mut tx, account, id, LATE_FILE).await?;
        let inbox = match &words {
            Some(words) => inboxes::find(&mut tx, words.inbox_id).await?,
            None => None,
        };
        tx.commit().await?;
        let (Some(words), Some(inbox)) = (words, inbox) else {
            // The inbox was connected elsewhere meanwhile, or the message is long forgotten.
            return self.done(None, "nowhere").await;
        };
        let (Some(quoted), Some(link)) = (words.chatwoot_message_id, &message.media) else {
            return self.done(None, "nowhere").await;
        };

        let at = self.tools.address(self.lease.scope(), &inbox)?;
        let _place = self.tools.chatwoot.place(&at).await?;
        let api = self.tools.chatwoot.at(&at);
        let source_id = format!("{}#file", mark(id.as_str()));
        if let Some(asked) = asked {
            if asked.chatwoot_message_id.is_some() {
                return self.done(None, "repeated").await;
            }
            is_settled(&asked, Some(self.task))?;
            let asked = Asked {
                conversation: asked.chatwoot_conversation_id,
                at: asked.created_at,
            };
            if let Some(found) = look_back(api, asked, &source_id).await? {
                return self.done(Some(found.id), "found_again").await;
            }
        }
        let shown = render(message, self.late.way());
        let Some(file) = &shown.file else {
            return self.done(None, "nowhere").await;
        };
        let fetched = self.tools.files.open(&link.url).await;
        let file = match fetched {
            Fetched::Open(open) => Ok(message_file(*open, file)),
            Fetched::TooLarge { size } => Err(format!("{} {}", file.label, too_large(size))),
            Fetched::Foreign => return self.done(None, "foreign").await,
            Fetched::NotThere => return Err(self.not_there()),
        };

        let conversation = words.chatwoot_conversation_id;
        let marks = Marks {
            own: &source_id,
            quoted: &mark(id.as_str()),
            quoted_id: quoted,
        };
        let new = self.new_message(&marks);
        let mut tx = TenantTransaction::begin(&self.tools.db, self.lease.scope(), "intend file").await?;
        self.lease.guard(&mut tx).await?;
        let intent = Intent {
            account,
            message: id,
            part: LATE_FILE,
            inbox: inbox.id,
            conversation,
            from_history: words.from_history,
            file_follows: false,
            settles_in: self
                .tools
                .chatwoot
                .settles_with(file.as_ref().map_or(0, |file| file.size)),
        };
        message_links::intend(&mut tx, &intent).await?;
        tx.commit().await?;
        let posted = match file {
            Ok(file) => match api.create_message_with_file(conversation, new, file).await {
                Err(error) if is_files_fault(error) => {
                    let label = shown.file.as_ref().map_or("", |file| file.label.as_str());
                    let words = format!("{label} Chatwoot does not take this file; it is in WhatsApp.");
                    post_words(api, conversation, new, &words).await
                }
                posted => posted.map(|made| made.id).map_err(NotDone::from),
            },
            Err(words) => post_words(api, conversation, new, &words).await,
        };
        match posted {
            Ok(made) => self.done(Some(made), "delivered").await,
            // Somebody deleted the conversation, and the words with it.
            Err(NotDone::Chatwoot(ChatwootError::NotFound)) => self.done(None, "conversation_gone").await,
            Err(error) => Err(error),
        }
    }

    /// The file's message, without words.
    fn new_message<'a>(&self, marks: &Marks<'a>) -> NewMessage<'a> {
        NewMessage {
            author: match self.late.way() {
                Way::FromPerson => Author::Contact,
                Way::FromPhone => Author::Tenant,
            },
            content: "",
            source_id: marks.own,
            quoted: Some((marks.quoted, Some(marks.quoted_id))),
            written_at: Some(self.late.message.sent_at.timestamp()),
        }
    }

    /// Looks come less often the older it gets, and end: then it is for people.
    fn not_there(&self) -> NotDone {
        let patience = self.tools.files.patience();
        let age = (Utc::now() - self.task.created_at).to_std().unwrap_or_default();
        if age > patience * GIVEN_UP_AFTER {
            return NotDone::FileNeverCame;
        }
        NotDone::FileNotYet {
            wait: (age / 4).max(patience / 10).min(LONGEST_PAUSE),
        }
    }

    async fn done(&self, made: Option<i64>, outcome: &'static str) -> Result<&'static str, NotDone> {
        let message = &self.late.message;
        let mut tx = TenantTransaction::begin(&self.tools.db, self.lease.scope(), "late file done").await?;
        self.lease.guard(&mut tx).await?;
        if let Some(made) = made {
            let (account, id) = (message.account_id, &message.provider_message_id);
            message_links::made(&mut tx, account, id, LATE_FILE, made).await?;
        }
        self.lease.done(&mut tx, self.task).await?;
        tx.commit().await?;
        Ok(outcome)
    }
}

async fn post_words(
    api: ChatwootApi<'_>,
    conversation: i64,
    new: NewMessage<'_>,
    content: &str,
) -> Result<i64, NotDone> {
    let made = api
        .create_message(conversation, NewMessage { content, ..new })
        .await?;
    Ok(made.id)
}
