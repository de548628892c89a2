//! Who makes tenants' sessions, and what is sent with.

use runtime::config::{BaseUrl, SettingsReader};
use secrecy::{ExposeSecret as _, SecretString};
use whatsapp::credentials::SessionToken;
use whatsapp::genfity::InternalKey;

use super::endpoints::ApiKey;

/// Sessions and how they are made.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// wa-support-gateway and our key to it; asked first.
    pub gateway: Option<(BaseUrl, InternalKey)>,
    /// The WhatsApp server and the token of its administration.
    pub server: Option<(BaseUrl, ApiKey)>,
    /// What accounts without a token of their own send with.
    pub access_token: Option<SessionToken>,
    /// Nothing goes out.
    pub dry_run: bool,
}

impl SessionSettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Option<Self> {
        let gateway_url: Option<BaseUrl> = reader.optional(
            "WA_SUPPORT_URL",
            "wa-support-gateway, which makes tenants' sessions and keeps them as its customers",
        );
        let gateway_key: Option<InternalKey> = reader.optional_as(
            "WA_SUPPORT_INTERNAL_API_KEY",
            "Our key at wa-support-gateway: `key`, or `source:key` as the gateway's list has it",
        );
        let server_url: Option<BaseUrl> = reader.optional(
            "WA_SERVER_URL",
            "The WhatsApp server, where sessions are made when there is no wa-support-gateway",
        );
        let server_token: Option<ApiKey> =
            reader.optional_as("WA_ADMIN_TOKEN", "Token of the WhatsApp server's administration");
        let access_token: Option<SecretString> = reader.optional(
            "WA_ACCESS_TOKEN",
            "Session token that accounts of `Primary` without one of their own send with",
        );
        let dry_run = reader.with_default(
            "WA_DRY_RUN",
            "false",
            "Nothing goes out: sends and session calls succeed without being made",
        );
        let access_token = match access_token.map(|token| SessionToken::new(token.expose_secret())) {
            Some(Err(error)) => {
                reader.problem("WA_ACCESS_TOKEN", &error.to_string());
                None
            }
            token => token.and_then(Result::ok),
        };
        Some(Self {
            // An address without a key, or a key without an address, is as good as none.
            gateway: gateway_url.zip(gateway_key),
            server: server_url.zip(server_token),
            access_token,
            dry_run: dry_run?,
        })
    }
}
