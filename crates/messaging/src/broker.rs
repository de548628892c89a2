//! A connection to RabbitMQ, made when it is needed and made again when it is lost.
//!
//! The library can repair a broken connection by itself, but everything here can also begin anew at any moment
//! (unpublished rows stay, unacknowledged deliveries come back), so we do only that: one path for the first
//! connection, for a restart of the broker and for an outage.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lapin::{Channel, Connection, ConnectionProperties};
use secrecy::{ExposeSecret, SecretString};

use crate::handshake;
use crate::topology::Topology;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest pause between two attempts to reach the broker.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How to reach the broker and what to declare there. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Broker {
    url: SecretString,
    name: &'static str,
    topology: Topology,
    govconnect: bool,
    up: Arc<AtomicBool>,
}

/// An open channel and the connection that carries it; closed when dropped.
pub(crate) struct Link {
    pub(crate) channel: Channel,
    _connection: Connection,
}

impl Broker {
    /// A broker by its `amqp://` URL. `name` is shown in the broker's list of connections. `govconnect` also
    /// declares GovConnect's exchange and queue.
    #[must_use]
    pub fn new(url: SecretString, name: &'static str, topology: Topology, govconnect: bool) -> Self {
        Self {
            url,
            name,
            topology,
            govconnect,
            up: Arc::default(),
        }
    }

    /// The names in use on this broker.
    #[must_use]
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Was the last contact a success? For readiness; the workers keep it true or false.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    pub(crate) fn mark(&self, up: bool) {
        if self.up.swap(up, Ordering::Relaxed) != up {
            if up {
                tracing::info!("the broker is there");
            } else {
                tracing::warn!("the broker is away");
            }
        }
    }

    /// Connects and declares the topology.
    pub(crate) async fn link(&self) -> Result<Link, LinkError> {
        let properties = ConnectionProperties::default().with_connection_name(self.name.into());
        let linked = tokio::time::timeout(CONNECT_TIMEOUT, async {
            let uri = self.url.expose_secret().parse().map_err(|_| LinkError::Url)?;
            let connection = handshake::connect(uri, properties).await?;
            let channel = connection.create_channel().await?;
            self.topology.declare(&channel, self.govconnect).await?;
            Ok(Link {
                channel,
                _connection: connection,
            })
        })
        .await
        .unwrap_or(Err(LinkError::Timeout));
        self.mark(linked.is_ok());
        linked
    }
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the broker's URL is no amqp:// URL")]
    Url,
    #[error("the broker did not answer in time")]
    Timeout,
    #[error("the broker refused")]
    Amqp(#[from] lapin::Error),
}

/// Growing pauses between attempts; begins anew after a success.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    failures: u32,
}

impl Pauses {
    pub(crate) fn next(&mut self) -> Duration {
        let pause = Duration::from_millis(100 << self.failures.min(6)).min(LONGEST_PAUSE);
        self.failures += 1;
        pause
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}
