//! Where the router is in the world: how the outside reaches it, and whose a route is that names nobody.

use domain::ids::TenantId;
use runtime::config::{BaseUrl, SettingsReader, url_parts};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;
use web::source::Networks;

/// The router's surroundings.
#[derive(Debug, Clone)]
pub struct RouterSettings {
    /// What several processes share that need not be kept. Without it, each process counts for itself.
    pub redis: Option<RedisSettings>,
    /// Where Chatwoot reaches this service.
    pub public_url: Option<BaseUrl>,
    /// Whose a route is that names no tenant.
    pub routes_tenant: TenantId,
    /// Proxies that are believed about who calls.
    pub proxies: Networks,
}

/// Where Redis is.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// `redis://` URL.
    pub url: SecretString,
    /// Begins every key.
    pub prefix: String,
}

impl RouterSettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Option<Self> {
        reader.url_of_parts(&url_parts::REDIS);
        let redis: Option<SecretString> = reader.optional(
            "REDIS_URL",
            "Redis, where several processes of this service share what they may ask of a Chatwoot server; without it each one counts for itself",
        );
        let prefix: Option<String> =
            reader.with_default("REDIS_PREFIX", "kanal:bridge:", "Begins every key in Redis");
        let public_url = reader.optional(
            "PUBLIC_BRIDGE_URL",
            "Where Chatwoot reaches this service; webhooks go to `/webhook` under it",
        );
        let tenant: Option<String> = reader.with_default(
            "ROUTES_TENANT",
            "default",
            "Whose a route is that names no tenant",
        );
        let proxies: Option<Networks> = reader.optional_as(
            "TRUSTED_PROXIES",
            "Proxies in front of the service, whose `X-Forwarded-For` is believed",
        );
        let is_redis = |url: &SecretString| {
            Url::parse(url.expose_secret()).is_ok_and(|url| matches!(url.scheme(), "redis" | "rediss"))
        };
        if redis.as_ref().is_some_and(|url| !is_redis(url)) {
            reader.problem("REDIS_URL", "must be a redis:// or rediss:// URL");
        }
        let redis = match redis {
            Some(url) => Some(RedisSettings { url, prefix: prefix? }),
            None => None,
        };
        let Ok(routes_tenant) = TenantId::parse(tenant?) else {
            reader.problem("ROUTES_TENANT", "must be a tenant's id");
            return None;
        };
        Some(Self {
            redis,
            public_url,
            routes_tenant,
            proxies: proxies.unwrap_or_default(),
        })
    }
}
