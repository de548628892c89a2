//! An order at the gate: whose number, which message is meant, may it be sent, and into the chat's lane with it.

use std::num::NonZeroU32;
use std::time::Duration;

use cache::{Buckets, CacheKey, Rate, RedisLink};
use database::Database;
use domain::address::ChatAddress;
use domain::ids::{AccountId, MessageId, ProviderMessageId};
use domain::message::{
    InteractiveHeader, InteractiveMessage, Media, MediaSource, MessageContent, MessageSource,
};
use domain::message::{MediaReference, TemplateComponent, TemplateParameter};
use domain::text::Text;
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::files::References;
use super::ids::{self, Meant};
use super::{GateError, Refusal};
use crate::flows::cloud_body;
use crate::flows::media::MediaFlow;
use crate::flows::order_message::{MessageOrder, Through};
use crate::flows::send_text::Texts;
use crate::store::gate::{self, MeantRow, NumberRow};
use crate::store::gate_media;

/// How references begin of messages that were ordered at the gate; the rest is the client's.
pub const REFERENCE: &str = "gate:";
/// To one person: a burst, then one each six seconds (contract 5).
const PAIR: (Duration, NonZeroU32) = (Duration::from_secs(6), NonZeroU32::new(45).unwrap());

/// What the gate allows, shared by all processes. Cheap to clone.
#[derive(Clone)]
pub struct GateLimits {
    pair: Buckets,
    number: Buckets,
    tenant: Buckets,
}

impl GateLimits {
    /// Limits of these rates.
    #[must_use]
    pub fn new(redis: &RedisLink, number: Rate, tenant: Rate) -> Self {
        Self {
            pair: Buckets::every(redis.clone(), PAIR.0, PAIR.1),
            number: Buckets::new(redis.clone(), number),
            tenant: Buckets::new(redis.clone(), tenant),
        }
    }

    /// One call of a tenant's.
    ///
    /// # Errors
    /// 80007.
    pub async fn call(&self, scope: &TenantScope) -> Result<(), GateError> {
        let key = CacheKey::of_tenant(scope, "gate_calls", "all");
        let taken = self.tenant.take(&key).await;
        taken.map_err(|wait| Refusal::business_rate(wait).into())
    }

    async fn message(&self, scope: &TenantScope, number: &str, to: &ChatAddress) -> Result<(), GateError> {
        let key = CacheKey::of_tenant(scope, "gate_number", number);
        let taken = self.number.take(&key).await;
        taken.map_err(Refusal::number_rate)?;
        let key = CacheKey::of_tenant(scope, "gate_pair", &format!("{number}/{}", to.as_str()));
        let taken = self.pair.take(&key).await;
        taken.map_err(|wait| Refusal::pair(wait).into())
    }
}

/// Takes orders. Cheap to clone.
#[derive(Clone)]
pub struct GateSender {
    /// The tables.
    pub db: Database,
    /// Files, and links to them.
    pub media: MediaFlow,
    /// References to files.
    pub references: References,
    /// What is allowed.
    pub limits: GateLimits,
    /// Places messages in their chats.
    pub texts: Texts,
}

/// A message that was queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Our id.
    pub message: MessageId,
    /// The person's number, where it is one.
    pub wa_id: Option<String>,
    /// The person's user id, where they were named by it.
    pub user_id: Option<String>,
}

/// A message that is to be marked as read.
#[derive(Debug, Clone)]
pub struct ToRead {
    /// With whom.
    pub address: ChatAddress,
    /// Which.
    pub message: ProviderMessageId,
}

impl GateSender {
    /// The tenant's number of this id.
    ///
    /// # Errors
    /// 100/33 where it has none, whoever else may.
    pub async fn number(&self, scope: &TenantScope, id: &str) -> Result<NumberRow, GateError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "find gate number").await?;
        let row = gate::number(&mut tx, id).await?;
        tx.commit().await?;
        row.ok_or_else(|| Refusal::unknown(id).into())
    }

    /// Was the file put up for this number, or did it come to it?
    ///
    /// # Errors
    /// [`GateError`].
    pub async fn has_file(
        &self,
        scope: &TenantScope,
        number: &NumberRow,
        file: Uuid,
    ) -> Result<bool, GateError> {
        let (account, message) = (
            AccountId::from_uuid(number.account_id),
            MessageId::from_uuid(file),
        );
        let mut tx = TenantTransaction::begin(&self.db, scope, "find whose file").await?;
        let upload = gate_media::upload(&mut tx, file).await?;
        let has = match upload {
            Some(upload) => upload.account_id == number.account_id,
            None => gate::meant(&mut tx, account, Some(message), "").await?.is_some(),
        };
        tx.commit().await?;
        Ok(has)
    }

    /// Queues a message.
    ///
    /// # Errors
    /// [`GateError`].
    pub async fn send(
        &self,
        scope: &TenantScope,
        number: &NumberRow,
        message: cloud_body::Message,
    ) -> Result<Queued, GateError> {
        if !number.is_active() {
            return Err(Refusal::suspended().into());
        }
        if number.token_sealed.is_none() {
            return Err(Refusal::unregistered().into());
        }
        let account = AccountId::from_uuid(number.account_id);
        let user_id = match &message.to {
            ChatAddress::User(user) => Some(user.as_str().to_owned()),
            _ => None,
        };
        let to = self.address(scope, account, message.to).await?;
        let (content, answers) = self
            .resolve(scope, account, message.content, message.answers)
            .await?;
        self.limits.message(scope, &number.number_id, &to).await?;
        let wa_id = to.phone().map(|phone| phone.as_str().to_owned());
        let order = MessageOrder {
            to,
            through: Through::Device(account),
            content,
            answers,
            source: MessageSource::Api,
            reference: Some(format!("{REFERENCE}{}", message.reference.unwrap_or_default())),
            try_anyway: false,
            wait: false,
            key: None,
        };
        let taken = self.texts.order(scope, order).await?;
        metrics::counter!("kanal_gate_messages_total").increment(1);
        Ok(Queued {
            message: taken.id,
            wa_id,
            user_id,
        })
    }

    /// The message that is to be marked as read, which a person wrote.
    ///
    /// # Errors
    /// 131009 where the number has no such message.
    pub async fn to_read(
        &self,
        scope: &TenantScope,
        number: &NumberRow,
        message: &str,
    ) -> Result<ToRead, GateError> {
        let account = AccountId::from_uuid(number.account_id);
        let row = self.meant(scope, account, message).await?;
        let known = row.filter(|row| row.inbound).and_then(|row| {
            Some(ToRead {
                address: ChatAddress::parse(&row.address).ok()?,
                message: ProviderMessageId::parse(row.provider_message_id).ok()?,
            })
        });
        known.ok_or_else(|| {
            Refusal::invalid("message_id is no message that was received by this number").into()
        })
    }

    async fn meant(
        &self,
        scope: &TenantScope,
        account: AccountId,
        id: &str,
    ) -> Result<Option<MeantRow>, GateError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "find gate message").await?;
        let row = match ids::meant(id) {
            Meant::Ours(message) => gate::meant(&mut tx, account, Some(message), "").await?,
            Meant::ByProvider(id) => gate::meant(&mut tx, account, None, &id).await?,
        };
        tx.commit().await?;
        Ok(row)
    }

    /// A user id of ours stands for a chat; any other is the provider's.
    async fn address(
        &self,
        scope: &TenantScope,
        account: AccountId,
        to: ChatAddress,
    ) -> Result<ChatAddress, GateError> {
        let ChatAddress::User(user) = &to else {
            return Ok(to);
        };
        let Some(chat) = ids::chat_of_user(user.as_str()) else {
            return Ok(to);
        };
        let mut tx = TenantTransaction::begin(&self.db, scope, "find gate person").await?;
        let person = gate::person(&mut tx, account, chat).await?;
        tx.commit().await?;
        let address = person.and_then(|person| ChatAddress::parse(&person.address).ok());
        address.ok_or_else(|| Refusal::invalid("recipient is nobody this number knows").into())
    }

    /// Puts in what ids mean.
    async fn resolve(
        &self,
        scope: &TenantScope,
        account: AccountId,
        content: MessageContent,
        answers: Option<ProviderMessageId>,
    ) -> Result<(MessageContent, Option<ProviderMessageId>), GateError> {
        let quoted = match answers {
            // Meta, too, drops the quote of a message that is not known.
            Some(id) => self
                .meant(scope, account, id.as_str())
                .await?
                .and_then(|row| ProviderMessageId::parse(row.provider_message_id).ok()),
            None => None,
        };
        let content = match content {
            MessageContent::Reaction { target, emoji } => {
                let row = self.meant(scope, account, target.as_str()).await?;
                let target = row.and_then(|row| ProviderMessageId::parse(row.provider_message_id).ok());
                let target = target
                    .ok_or_else(|| Refusal::invalid("reaction.message_id is no message of this number"))?;
                MessageContent::Reaction { target, emoji }
            }
            MessageContent::Media(media) => MessageContent::Media(self.file(scope, media).await?),
            MessageContent::Template { mut template } => {
                for component in &mut template.components {
                    if let TemplateComponent::Header { parameters } = component {
                        for parameter in parameters {
                            match parameter {
                                TemplateParameter::Image { image: file }
                                | TemplateParameter::Video { video: file }
                                | TemplateParameter::Document { document: file } => {
                                    self.link(scope, file).await?;
                                }
                                _ => {}
                            }
                        }
                    }
                }
                MessageContent::Template { template }
            }
            MessageContent::Interactive { mut interactive } => {
                let header = match &mut *interactive {
                    InteractiveMessage::Button(framed) => framed.header.as_mut(),
                    InteractiveMessage::CtaUrl(framed) => framed.header.as_mut(),
                    InteractiveMessage::Flow(framed) => framed.header.as_mut(),
                    _ => None,
                };
                if let Some(
                    InteractiveHeader::Image { image: file }
                    | InteractiveHeader::Video { video: file }
                    | InteractiveHeader::Document { document: file },
                ) = header
                {
                    self.link(scope, file).await?;
                }
                MessageContent::Interactive { interactive }
            }
            other => other,
        };
        Ok((content, quoted))
    }

    async fn file(&self, scope: &TenantScope, mut media: Media) -> Result<Media, GateError> {
        let Some(MediaSource::Graph(named)) = media.sources.first() else {
            return Ok(media);
        };
        let named = named.id.as_str().to_owned();
        let (id, file) = self.known(scope, &named).await?;
        media.mime_type = Some(Text::new(file.file_type.mime));
        media.size = Some(file.size);
        media.file_name = media.file_name.or_else(|| Some(Text::new(&file.name)));
        media.sources = vec![self.references.of(scope, id)];
        Ok(media)
    }

    /// Headers are fetched by Meta: an id of ours becomes a link that holds for a while.
    async fn link(&self, scope: &TenantScope, file: &mut MediaReference) -> Result<(), GateError> {
        let Some(named) = file.id.take() else {
            return Ok(());
        };
        let (id, _) = self.known(scope, named.as_str()).await?;
        let urls = self.media.links.of(scope.tenant(), MessageId::from_uuid(id));
        file.link = Some(Text::new(&urls.public));
        Ok(())
    }

    async fn known(
        &self,
        scope: &TenantScope,
        id: &str,
    ) -> Result<(Uuid, crate::flows::media::ServedFile), GateError> {
        let unknown = || Refusal::unknown(id);
        let uuid = ids::media(id).ok_or_else(unknown)?;
        let file = self.media.find(scope, MessageId::from_uuid(uuid)).await?;
        Ok((uuid, file.ok_or_else(unknown)?))
    }
}
