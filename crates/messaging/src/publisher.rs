//! Publishing with confirms and `mandatory`: success means that a queue holds the message.

use std::time::Duration;

use domain::ids::EventId;
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Confirmation, PublisherConfirm};

use crate::broker::{Broker, Link, LinkError};

/// How long the broker may take to confirm. Quorum queues write to disk first.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(15);

/// One message for one exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Name of the exchange.
    pub exchange: String,
    /// Routing key.
    pub routing_key: String,
    /// The envelope's id, also when the shape is somebody else's.
    pub event_id: EventId,
    /// JSON.
    pub body: Vec<u8>,
}

/// Why a message is not on a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The broker is away, or did not confirm in time.
    #[error("the broker is away")]
    Away,
    /// No queue is bound to this key, or the broker could not store the message.
    #[error("the broker did not take the message")]
    NotTaken,
}

/// A channel in confirm mode. Works on one batch at a time, hence `&mut`.
pub struct Publisher {
    broker: Broker,
    link: Link,
}

impl Publisher {
    /// Connects, declares the topology and asks for confirms.
    ///
    /// # Errors
    /// [`PublishError::Away`].
    pub async fn connect(broker: &Broker) -> Result<Self, PublishError> {
        let connect = async {
            let link = broker.link().await?;
            link.channel
                .confirm_select(ConfirmSelectOptions::default())
                .await?;
            Ok::<_, LinkError>(link)
        };
        let link = connect.await.map_err(|error| {
            tracing::debug!(error = %error_chain(&error), "no connection for publishing");
            PublishError::Away
        })?;
        Ok(Self {
            broker: broker.clone(),
            link,
        })
    }

    /// Publishes one message and waits until it is safe.
    ///
    /// # Errors
    /// [`PublishError`]; after `Away` make a new publisher.
    pub async fn publish(&mut self, publication: &Publication) -> Result<(), PublishError> {
        let taken = self.publish_all(std::slice::from_ref(publication)).await?;
        if taken == [true] {
            Ok(())
        } else {
            Err(PublishError::NotTaken)
        }
    }

    /// Publishes all of them at once and waits until the broker has spoken about each: which of them are safe.
    ///
    /// # Errors
    /// [`PublishError::Away`]: nobody knows about any of them; make a new publisher. The same holds when this
    /// future is dropped.
    pub(crate) async fn publish_all(
        &mut self,
        publications: &[Publication],
    ) -> Result<Vec<bool>, PublishError> {
        let mut pending = Vec::with_capacity(publications.len());
        for publication in publications {
            pending.push(self.send(publication).await?);
        }
        let (mut taken, mut returned) = (Vec::with_capacity(pending.len()), Vec::new());
        for confirm in pending {
            let Ok(Ok(confirmation)) = tokio::time::timeout(CONFIRM_TIMEOUT, confirm).await else {
                return Err(self.lost());
            };
            taken.push(matches!(confirmation, Confirmation::Ack(_)));
            returned.extend(confirmation.take_message());
        }
        // An unroutable mandatory message is acknowledged too, and handed back. The library attaches what is handed
        // back to whichever confirm comes next, which is often another message's: the label on it counts, not the
        // confirm it came with, and nothing is safe before all confirms are there.
        for message in returned {
            let id = message.delivery.properties.message_id().as_ref();
            for (taken, publication) in taken.iter_mut().zip(publications) {
                let same_event = id.is_some_and(|id| id.as_str().parse() == Ok(publication.event_id));
                *taken &= !(same_event && message.delivery.exchange.as_str() == publication.exchange);
            }
        }
        Ok(taken)
    }

    async fn send(&self, publication: &Publication) -> Result<PublisherConfirm, PublishError> {
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/json".into())
            .with_message_id(publication.event_id.to_string().into());
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let sent = self.link.channel.basic_publish(
            publication.exchange.as_str().into(),
            publication.routing_key.as_str().into(),
            options,
            &publication.body,
            properties,
        );
        match tokio::time::timeout(CONFIRM_TIMEOUT, sent).await {
            Ok(Ok(confirm)) => Ok(confirm),
            Ok(Err(_)) | Err(_) => Err(self.lost()),
        }
    }

    fn lost(&self) -> PublishError {
        self.broker.mark(false);
        PublishError::Away
    }
}

/// The causes of an error on one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
