//! A person of the dashboard answers in a chat: with words, or with a file.
//!
//! Each form brings a key of its own, so that sending it twice sends one message. A file is another object each time it comes,
//! so what counts there is the key together with the file's content and the words under it.

use database::{Database, DatabaseError};
use domain::address::ChatAddress;
use domain::chat::Channel;
use domain::ids::{AccountId, ChatId, MessageId, ProviderMessageId};
use domain::message::{Media, MediaKind, MessageContent, MessageSource};
use domain::text::Text;
use sha2::{Digest as _, Sha256};
use tenant_isolation::{TenantScope, TenantTransaction};

use super::chat::ChatError;
use super::gate::files::{self, References};
use super::gate::uploads::{Arrived, UploadError, Uploads};
use super::order_message::{MessageOrder, OrderError, Through};
use super::send_text::{IdempotencyKey, TextOrder, Texts};
use super::thread;
use crate::store::chat::{self, ChatRow};

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The tenant has no such chat.
    #[error("there is no such chat")]
    NoChat,
    /// A webchat takes words only.
    #[error("a webchat takes no files")]
    NoFiles,
    /// The file is not taken.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The message is not taken.
    #[error(transparent)]
    Order(#[from] OrderError),
}

impl From<DatabaseError> for AnswerError {
    fn from(error: DatabaseError) -> Self {
        Self::Order(error.into())
    }
}

impl From<ChatError> for AnswerError {
    fn from(error: ChatError) -> Self {
        Self::Order(error.into())
    }
}

/// What answers are made with.
pub struct Answers<'a> {
    /// The tables.
    pub db: &'a Database,
    /// Places messages.
    pub texts: &'a Texts,
    /// Keeps files.
    pub uploads: &'a Uploads,
    /// Puts files into messages.
    pub references: &'a References,
}

/// An answer.
pub struct Answer {
    /// In which chat.
    pub chat: ChatId,
    /// The words; under a file they may be missing.
    pub words: Text,
    /// The message that it answers.
    pub to: Option<MessageId>,
    /// The form's key.
    pub key: IdempotencyKey,
}

impl Answers<'_> {
    /// Sends words.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub async fn words(&self, scope: &TenantScope, answer: Answer) -> Result<(), AnswerError> {
        let (row, person, quoted) = self.meant(scope, &answer).await?;
        if row.channel == Channel::Webchat.as_str() {
            let order = TextOrder {
                person,
                text: answer.words,
                source: MessageSource::Admin,
                is_answer: true,
                key: Some(answer.key),
            };
            self.texts.send(scope, order).await?;
            return Ok(());
        }
        let content = MessageContent::Text { text: answer.words };
        self.order(scope, &row, person, content, quoted, answer.key).await
    }

    /// Sends a file that has come in.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub async fn file(
        &self,
        scope: &TenantScope,
        answer: Answer,
        arrived: Arrived,
    ) -> Result<(), AnswerError> {
        let (row, person, quoted) = self.meant(scope, &answer).await?;
        if row.channel == Channel::Webchat.as_str() {
            return Err(AnswerError::NoFiles);
        }
        let kind = arrived.kind();
        let caption = Some(answer.words).filter(|words| !words.is_empty());
        let key = key_of(&answer.key, &arrived, caption.as_ref(), quoted.as_ref());
        let mut media = Media {
            media_kind: kind,
            // Neither can have words under it.
            caption: caption
                .clone()
                .filter(|_| !matches!(kind, MediaKind::Audio | MediaKind::Voice | MediaKind::Sticker)),
            mime_type: Some(Text::new(arrived.mime_type())),
            file_name: arrived
                .name()
                .map(Text::new)
                .filter(|_| kind == MediaKind::Document),
            size: Some(arrived.size()),
            seconds: None,
            sha256: None,
            sources: Vec::new(),
        };
        let has_words_left = media.caption.is_none();
        let account = AccountId::from_uuid(row.account_id);
        let id = self.uploads.keep(scope, account, arrived).await?;
        media.sources = vec![self.references.of(scope, id)];
        let content = MessageContent::Media(media);
        let ordered = self
            .order(scope, &row, person.clone(), content, quoted.clone(), key)
            .await;
        match ordered {
            Ok(()) => {}
            // The same file under the same words in the same form: that was sent already, and this copy is one too many.
            Err(AnswerError::Order(OrderError::Chat(ChatError::KeyUsed))) => {
                files::delete(self.db, scope, id).await?;
            }
            Err(error) => {
                files::delete(self.db, scope, id).await?;
                return Err(error);
            }
        }
        if let Some(words) = caption.filter(|_| has_words_left) {
            let content = MessageContent::Text { text: words };
            return self.order(scope, &row, person, content, quoted, answer.key).await;
        }
        Ok(())
    }

    async fn meant(
        &self,
        scope: &TenantScope,
        answer: &Answer,
    ) -> Result<(ChatRow, ChatAddress, Option<ProviderMessageId>), AnswerError> {
        let mut tx = TenantTransaction::begin(self.db, scope, "find chat to answer").await?;
        let row = match chat::find(&mut tx, answer.chat).await {
            Err(DatabaseError::NotFound) => return Err(AnswerError::NoChat),
            row => row?,
        };
        let quoted = match answer.to {
            // Gone meanwhile: that costs the quote, never the message.
            Some(message) => thread::answered(&mut tx, answer.chat, message).await?,
            None => None,
        };
        tx.commit().await?;
        let person =
            ChatAddress::parse(&row.address).map_err(|error| DatabaseError::Refused(Box::new(error)))?;
        let quoted = quoted.and_then(|id| ProviderMessageId::parse(id).ok());
        Ok((row, person, quoted))
    }

    async fn order(
        &self,
        scope: &TenantScope,
        row: &ChatRow,
        to: ChatAddress,
        content: MessageContent,
        answers: Option<ProviderMessageId>,
        key: IdempotencyKey,
    ) -> Result<(), AnswerError> {
        let order = MessageOrder {
            to,
            through: Through::Device(AccountId::from_uuid(row.account_id)),
            content,
            answers,
            source: MessageSource::Admin,
            reference: None,
            try_anyway: false,
            // The page shows what becomes of it.
            wait: false,
            key: Some(key),
        };
        self.texts.order(scope, order).await?;
        Ok(())
    }
}

/// What makes an order with a file the same as another one.
fn key_of(
    form: &IdempotencyKey,
    arrived: &Arrived,
    caption: Option<&Text>,
    quoted: Option<&ProviderMessageId>,
) -> IdempotencyKey {
    let mut digest = Sha256::new();
    let parts = [
        form.as_str(),
        arrived.sha256(),
        arrived.name().unwrap_or_default(),
        quoted.map(ProviderMessageId::as_str).unwrap_or_default(),
        caption.map(Text::as_str).unwrap_or_default(),
    ];
    for part in parts {
        digest.update(part.as_bytes());
        digest.update(b"\0");
    }
    IdempotencyKey::of_digest(digest.finalize().into())
}
