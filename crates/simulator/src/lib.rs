//! Imitations of the outside systems Kanal talks to, for tests and for people without a phone at hand.
//!
//! One listener carries a genfity WA server (`/wa`), the gateway that sells its sessions (`/support`), a Chatwoot
//! (`/chatwoot`), a GoWA (`/gowa`), Meta's Graph API (`/graph`) and a bucket (`/s3`), plus a control plane (`/_sim`) that
//! makes phones and agents act, switches faults on and reads back what
//! happened. The shapes come from the contracts of those systems, not from our own clients, so that a client that
//! misreads a contract fails here first.
//!
//! Everything is in memory and bounded. Nothing here checks that our services do the right thing: it only behaves like
//! the other side and remembers, and the tests judge.

mod api;
mod chatwoot;
mod control;
mod delivery;
mod faults;
mod gowa;
mod graph;
mod http;
mod hub;
mod journal;
mod multipart;
mod pace;
mod qr;
mod s3;
mod server;
mod signature;
mod support;
mod wa;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use tokio::task::JoinHandle;

pub use chatwoot::acts::{AgentTyping, ContactMerge, ConversationStatusChange};
pub use chatwoot::control::{
    InboxCreated, NewAccount, NewInbox, Redelivery, Reply, ReplyFile, ReplyLocation, ReplySender,
    ReplyStream, ReplyStreamProgress,
};
pub use chatwoot::files::ChatwootFile;
pub use chatwoot::settings::{ChatwootConfigChange, ChatwootSettings};
pub use chatwoot::state::{
    AccountCreated, ChatwootDelivery, ContactView, ConversationView, MessageView, StatusUpdate,
};
pub use faults::{FaultError, FaultKind, FaultSpec, FaultTarget, FaultView};
pub use gowa::control::{GowaConfigChange, GowaInbound, GowaMedia, GowaReceipt, NewGowaDevice};
pub use gowa::receiver::{GowaChatwoot, GowaNote};
pub use gowa::state::{GowaDelivery, GowaDevice, GowaFile, GowaMessage, GowaSend, GowaSettings, GowaWebhook};
pub use graph::control::{
    GraphChange, GraphEmitted, GraphRaw, GraphRedelivery, GraphStatusChange, GraphUpdate, GraphWindowChange,
    NewGraphNumber,
};
pub use graph::faults::{GraphCall, GraphStatusStep, GraphTrouble, GraphTroubleKind, GraphTroubleView};
pub use graph::inbound::{GraphInbound, GraphInboundMedia, graph_user_id};
pub use graph::media::GraphMedia;
pub use graph::state::{
    GraphApp, GraphCallback, GraphDelivery, GraphNumber, GraphSend, GraphSettings, GraphShape, GraphTemplate,
    GraphToken, GraphVerification, GraphWaba, GraphWindow,
};
pub use hub::{Moment, RequestEntry};
pub use journal::JOURNAL_LIMIT;
pub use signature::{chatwoot_signature, hmac_sha256_hex};
pub use support::state::{SupportCustomer, SupportSession};
pub use wa::control::{
    ControlError, NewSession, RawEvent, Receipt, ReceiptState, ShownPicture, Trouble, TroubleKind,
    WaConfigChange,
};
pub use wa::inbound::{Inbound, InboundKind, InboundMedia, InboundTime};
pub use wa::state::{ApiCall, DeliveryAttempt, PhoneMessage, SentMedia, WaSettings, WaUser, WebhookFormat};
pub use wa::stream::{InboundStream, StreamProgress};

/// How the simulator is to behave. `Default` is what the contracts say the real systems do.
#[derive(Debug, Clone)]
pub struct SimulatorConfig {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// What `/wa/admin/*` expects in `Authorization`, raw, without `Bearer` (WA contract §1).
    pub wa_admin_token: String,
    /// `INTERNAL_API_KEYS` of the gateway at `/support`: `source:key` or `key`, separated by commas.
    pub support_internal_keys: String,
    /// `WEBHOOK_FORMAT` of the WA server (§10); may be changed at run time.
    pub webhook_format: WebhookFormat,
    /// Waits between the attempts to deliver one WA webhook: n waits make n + 1 attempts (§10).
    pub retry_delays: Vec<Duration>,
    /// A session pairs by itself soon after `connect`; otherwise it waits for `POST /_sim/wa/scan`.
    pub auto_login: bool,
    /// Phones confirm delivery and reading of every message by themselves.
    pub auto_receipts: bool,
    /// How long pairing takes with `auto_login`.
    pub login_delay: Duration,
    /// How long a phone takes to confirm delivery, and as long again to confirm reading.
    pub receipt_delay: Duration,
    /// Chatwoot gives up on a webhook after this long (Chatwoot contract 2.4).
    pub chatwoot_webhook_timeout: Duration,
    /// Chatwoot's ids of inboxes, contacts and messages begin here. A simulator that starts again over databases that
    /// remember the last one must not hand out the same ids for other things: see [`SimulatorConfig::never_repeating_ids`].
    pub first_chatwoot_id: u64,
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8090)),
            wa_admin_token: "simulator-admin-token".to_owned(),
            support_internal_keys: "govconnect:simulator-internal-key".to_owned(),
            webhook_format: WebhookFormat::Form,
            retry_delays: [30, 60, 120, 240].map(Duration::from_secs).to_vec(),
            auto_login: true,
            auto_receipts: false,
            login_delay: Duration::from_millis(20),
            receipt_delay: Duration::from_millis(20),
            chatwoot_webhook_timeout: Duration::from_secs(5),
            first_chatwoot_id: 1,
        }
    }
}

impl SimulatorConfig {
    /// Lets Chatwoot's ids begin at the clock's milliseconds: whatever an earlier simulator handed out, it made fewer
    /// ids than milliseconds passed. JSON numbers hold them exactly for the next two hundred thousand years.
    #[must_use]
    pub fn never_repeating_ids(mut self) -> Self {
        self.first_chatwoot_id = u64::try_from(chrono::Utc::now().timestamp_millis())
            .unwrap_or(1)
            .max(1);
        self
    }

    /// For tests: a free port, and WA webhooks retried after 50, 100, 200 and 200 ms instead of minutes.
    #[must_use]
    pub fn for_tests() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            retry_delays: [50, 100, 200, 200].map(Duration::from_millis).to_vec(),
            ..Self::default()
        }
    }
}

/// Why the simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The listener did not become a server.
    #[error("cannot serve")]
    Listen(#[source] io::Error),
    /// The client that sends webhooks could not be built.
    #[error("cannot build the webhook client")]
    Client(#[source] reqwest::Error),
}

/// A running simulator. Dropping it stops it; [`Simulator::stop`] also waits.
pub struct Simulator {
    hub: Arc<hub::Hub>,
    address: SocketAddr,
    handle: ServerHandle,
    server: Option<JoinHandle<io::Result<()>>>,
}

impl Simulator {
    /// Starts listening and serving on the caller's tokio runtime.
    pub async fn start(config: SimulatorConfig) -> Result<Self, StartError> {
        // Fails when a provider is installed already, which is just as good.
        rustls::crypto::ring::default_provider().install_default().ok();
        let listen = config.listen;
        let hub = hub::Hub::new(config)?;
        let (server, handle, address) = server::listen(&hub, listen)?;
        hub::lock(&hub.graph).base_url = format!("http://{address}/graph");
        hub::lock(&hub.chatwoot).base_url = format!("http://{address}/chatwoot");
        Ok(Self {
            hub,
            address,
            handle,
            server: Some(tokio::spawn(server)),
        })
    }

    /// The address really bound, with the real port.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// `http://host:port`, without a slash at the end; the mounts follow, e.g. `{base_url}/wa`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops serving and sending, and waits until both have ended.
    pub async fn stop(mut self) {
        self.hub.wind_down().await;
        self.handle.stop(false).await;
        if let Some(server) = self.server.take() {
            // How the server ended no longer matters: it has.
            drop(server.await);
        }
    }

    /// Serves until the server ends by itself, which it does only after [`Simulator::stop`] or a failure.
    pub async fn wait(&mut self) -> io::Result<()> {
        match self.server.as_mut() {
            Some(server) => server.await.map_err(io::Error::other)?,
            None => Ok(()),
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.hub.stopping.cancel();
        if let Some(server) = self.server.take() {
            // The stop command is sent when the future is made; nobody is left to await the confirmation.
            drop(self.handle.stop(false));
            drop(server);
        }
    }
}
