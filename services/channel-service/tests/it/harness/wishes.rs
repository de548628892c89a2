//! How a test wants its service, and the settings that are made of that.

use std::net::SocketAddr;
use std::sync::Arc;

use channel_service::config::{EndpointSettings, ProviderSettings, Settings};
use channel_service::flows::load_media::LoadMedia;
use domain::endpoint::EndpointName;
use runtime::config::{BaseUrl, Setting as _, SettingsReader};
use test_support::ENCRYPTION_KEYS;

use super::{INTERNAL_KEY, Proxies};

/// How a test wants its service.
pub(crate) struct Wishes {
    pub(crate) postgres_away: bool,
    pub(crate) rabbitmq_away: bool,
    pub(crate) send_attempts: &'static str,
    pub(crate) retry_first_ms: &'static str,
    pub(crate) retry_cap_ms: &'static str,
    pub(crate) media: MediaWishes,
    pub(crate) message_timeout_ms: &'static str,
    pub(crate) ai_service_url: Option<String>,
    pub(crate) maker: Maker,
    pub(crate) dry_run: bool,
    /// The token of accounts that have none; empty for none.
    pub(crate) access_token: String,
    /// Sessions that are made post their events to the service itself.
    pub(crate) events_come_here: bool,
    /// Settings besides the usual ones, or in their place; `{simulator}` stands for the simulator's address.
    pub(crate) settings: &'static [(&'static str, &'static str)],
    /// Where files come from that go out with messages.
    pub(crate) files: Option<Arc<dyn LoadMedia>>,
    /// Endpoints besides `Primary`: their names, and the simulators behind them.
    pub(crate) endpoints: Vec<(&'static str, String)>,
}

/// How a test wants its files to be treated.
pub(crate) struct MediaWishes {
    pub(crate) body_limit_bytes: &'static str,
    pub(crate) limit_bytes: &'static str,
    pub(crate) attempts: &'static str,
    pub(crate) link_seconds: &'static str,
}

impl Default for MediaWishes {
    fn default() -> Self {
        Self {
            body_limit_bytes: "33554432",
            limit_bytes: "104857600",
            attempts: "5",
            link_seconds: "3600",
        }
    }
}

/// Who makes the sessions of a test's service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Maker {
    Nobody,
    /// The simulator's gateway; calls of sessions go through its proxy, too.
    Gateway,
    /// The simulator's WhatsApp server.
    Server,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            postgres_away: false,
            rabbitmq_away: false,
            send_attempts: "8",
            retry_first_ms: "50",
            retry_cap_ms: "500",
            media: MediaWishes::default(),
            message_timeout_ms: "10000",
            ai_service_url: None,
            maker: Maker::Nobody,
            dry_run: false,
            access_token: String::new(),
            events_come_here: false,
            settings: &[],
            files: None,
            endpoints: Vec::new(),
        }
    }
}

pub(super) fn settings(
    wishes: &Wishes,
    proxies: &Proxies,
    prefix: &str,
    simulator: &str,
    here: SocketAddr,
) -> Settings {
    let only = |maker: Maker, value: String| {
        if wishes.maker == maker {
            value
        } else {
            String::new()
        }
    };
    let wa_api = match wishes.maker {
        Maker::Gateway => format!("{simulator}/support/v1/wa"),
        Maker::Nobody | Maker::Server => format!("{simulator}/wa"),
    };
    let public = if wishes.events_come_here {
        format!("http://{here}")
    } else {
        "https://channel.example".to_owned()
    };
    let usual = [
        ("HOST", "127.0.0.1"),
        ("PORT", "1"),
        ("DATABASE_URL", "postgres://u:p@h/d"),
        ("DATABASE_POOL_SIZE", "6"),
        ("DATABASE_WAIT_MS", "5000"),
        ("REDIS_URL", &proxies.redis.url(&test_support::redis_url())),
        ("REDIS_PREFIX", prefix),
        (
            "RABBITMQ_URL",
            &proxies.rabbitmq.url(&test_support::rabbitmq_url()),
        ),
        ("BROKER_PREFIX", prefix),
        ("ENCRYPTION_KEYS", ENCRYPTION_KEYS),
        ("INTERNAL_API_KEY", INTERNAL_KEY),
        ("API_DOCS", "true"),
        (
            "INTERNAL_CALLER_KEYS",
            concat!("ai:", "limited-key-of-the-ai", ":desa-satu"),
        ),
        ("GOVCONNECT_EVENTS", "true"),
        ("PUBLIC_CHANNEL_BASE_URL", &public),
        ("WA_API_URL", &wa_api),
        (
            "WA_SUPPORT_URL",
            &only(Maker::Gateway, format!("{simulator}/support")),
        ),
        (
            "WA_SUPPORT_INTERNAL_API_KEY",
            &only(Maker::Gateway, "govconnect:simulator-internal-key".to_owned()),
        ),
        ("WA_SERVER_URL", &only(Maker::Server, format!("{simulator}/wa"))),
        (
            "WA_ADMIN_TOKEN",
            &only(Maker::Server, "simulator-admin-token".to_owned()),
        ),
        ("WA_ACCESS_TOKEN", &wishes.access_token),
        ("WA_DRY_RUN", if wishes.dry_run { "true" } else { "false" }),
        // Long enough for a machine that has much to do: a worker that loses its lane leaves an outcome nobody knows.
        ("LANE_LEASE_MS", "8000"),
        ("MESSAGE_TIMEOUT_MS", wishes.message_timeout_ms),
        (
            "AI_SERVICE_URL",
            wishes.ai_service_url.as_deref().unwrap_or_default(),
        ),
        ("SEND_ATTEMPTS", wishes.send_attempts),
        ("SEND_RETRY_FIRST_MS", wishes.retry_first_ms),
        ("SEND_RETRY_CAP_MS", wishes.retry_cap_ms),
        ("ENDPOINT_REST_FIRST_MS", "50"),
        ("ENDPOINT_REST_CAP_MS", "400"),
        ("WEBHOOK_BODY_LIMIT_BYTES", wishes.media.body_limit_bytes),
        ("MEDIA_PUBLIC_URL", "https://files.example/uploads"),
        ("MEDIA_INTERNAL_URL", "http://inside.example/uploads"),
        ("MEDIA_LIMIT_BYTES", wishes.media.limit_bytes),
        ("MEDIA_LINK_SECONDS", wishes.media.link_seconds),
        ("MEDIA_ATTEMPTS", wishes.media.attempts),
        ("MEDIA_RETRY_FIRST_MS", "50"),
        ("MEDIA_RETRY_CAP_MS", "200"),
        // Only the tests about them want endpoints and sessions looked after.
        ("ENDPOINT_CHECKS", "off"),
        ("SESSION_WATCH", "off"),
        // Only the tests about them want pictures of people asked for.
        ("PROFILE_PICTURE_DAYS", "0"),
        // The simulator is here; everything else that is private is not.
        ("OUTBOUND_ALLOWED_PRIVATE_HOSTS", "127.0.0.1:*"),
    ];
    let wished: Vec<(&str, String)> = wishes
        .settings
        .iter()
        .map(|(name, value)| (*name, value.replace("{simulator}", simulator)))
        .collect();
    let wished = wished.iter().map(|(name, value)| (*name, value.as_str()));
    let reader = SettingsReader::from_map(usual.into_iter().chain(wished));
    Settings::read(reader).unwrap()
}

/// An endpoint whose sessions are made at the simulator's WhatsApp server.
pub(super) fn genfity(name: &str, simulator: &str) -> EndpointSettings {
    let api = BaseUrl::from_text(&format!("{simulator}/wa")).unwrap();
    EndpointSettings {
        name: EndpointName::parse(name).unwrap(),
        api_url: api.clone(),
        provider: ProviderSettings::Genfity {
            gateway: None,
            server: Some((api, "simulator-admin-token".parse().unwrap())),
        },
        webhook_keys: Vec::new(),
    }
}
