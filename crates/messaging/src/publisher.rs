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

/// A channel in confirm mode.
pub struct Publisher {
    broker: Broker,
    link: Link,
}

/// A publication on its way.
pub(crate) struct Pending(PublisherConfirm);

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
    pub async fn publish(&self, publication: &Publication) -> Result<(), PublishError> {
        let pending = self.send(publication).await?;
        self.confirmed(pending).await
    }

    /// Hands a message to the broker; [`Self::confirmed`] tells whether it is safe.
    pub(crate) async fn send(&self, publication: &Publication) -> Result<Pending, PublishError> {
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
            Ok(Ok(confirm)) => Ok(Pending(confirm)),
            Ok(Err(_)) | Err(_) => Err(self.lost()),
        }
    }

    pub(crate) async fn confirmed(&self, pending: Pending) -> Result<(), PublishError> {
        match tokio::time::timeout(CONFIRM_TIMEOUT, pending.0).await {
            // An unroutable mandatory message is acknowledged too, with the message handed back.
            Ok(Ok(Confirmation::Ack(None))) => Ok(()),
            Ok(Ok(_)) => Err(PublishError::NotTaken),
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
