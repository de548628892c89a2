//! From an endpoint's settings to the ways to it. A new provider's clients are put together here.

use std::sync::Arc;

use url::Url;
use whatsapp::dry_run::DryRun;
use whatsapp::genfity::{
    Endpoint, GenfityCourtesy, GenfityDownloads, GenfitySender, GenfitySessions, InternalKey,
    InvalidEndpoint, SupportGateway, WaAdmin,
};
use whatsapp::probe::{HttpProbe, ProbeEndpoint};
use whatsapp::unserved::Unserved;

use super::{CallSettings, LiveEndpoint};
use crate::config::{ApiKey, EndpointSettings, ProviderSettings};
use crate::flows::session::Makers;
use runtime::config::BaseUrl;

impl LiveEndpoint {
    pub(super) fn build(settings: &EndpointSettings, calls: CallSettings) -> Result<Self, InvalidEndpoint> {
        let live = match &settings.provider {
            ProviderSettings::Genfity { gateway, server } => {
                Self::genfity(settings, calls, gateway.as_ref(), server.as_ref())?
            }
            ProviderSettings::Gowa { auth } => Self {
                probe: Arc::new(HttpProbe::gowa(settings.api_url.url(), auth.as_ref())?),
                ..Self::unserved(settings)
            },
            ProviderSettings::Cloud(_) => Self::unserved(settings),
        };
        Ok(if calls.dry_run { live.silenced() } else { live })
    }

    fn genfity(
        settings: &EndpointSettings,
        calls: CallSettings,
        gateway: Option<&(BaseUrl, InternalKey)>,
        server: Option<&(BaseUrl, ApiKey)>,
    ) -> Result<Self, InvalidEndpoint> {
        let endpoint = Endpoint::new(settings.api_url.url().clone())?.with_total_timeout(calls.timeout);
        let makers = Makers {
            gateway: gateway
                .map(|(base, key)| SupportGateway::new(&Endpoint::new(base.url().clone())?, key.clone()))
                .transpose()?,
            server: server
                .map(|(base, token)| {
                    WaAdmin::new(&Endpoint::new(base.url().clone())?, token.secret().clone())
                })
                .transpose()?,
            dry_run: calls.dry_run,
        };
        Ok(Self {
            sender: Arc::new(GenfitySender::new(&endpoint)?),
            sessions: Arc::new(GenfitySessions::new(&endpoint)?),
            courtesy: Arc::new(GenfityCourtesy::new(&endpoint)?),
            downloads: Arc::new(GenfityDownloads::new(&endpoint)?),
            probe: Arc::new(genfity_probe(settings.api_url.url(), gateway, server)?),
            makers,
            ..Self::unserved(settings)
        })
    }

    /// The endpoint without a way to it.
    fn unserved(settings: &EndpointSettings) -> Self {
        Self {
            name: settings.name.clone(),
            provider: settings.provider.kind(),
            sender: Arc::new(Unserved),
            sessions: Arc::new(Unserved),
            courtesy: Arc::new(Unserved),
            downloads: Arc::new(Unserved),
            probe: Arc::new(Unserved),
            makers: Makers::default(),
            webhook_keys: settings.webhook_keys.clone(),
            cloud: match &settings.provider {
                ProviderSettings::Cloud(cloud) => Some(cloud.clone()),
                ProviderSettings::Genfity { .. } | ProviderSettings::Gowa { .. } => None,
            },
            settings: settings.clone(),
        }
    }

    /// The endpoint while nothing may go out. Files still come in, and a gateway still makes sessions.
    fn silenced(self) -> Self {
        Self {
            sender: Arc::new(DryRun),
            sessions: Arc::new(DryRun),
            courtesy: Arc::new(DryRun),
            probe: Arc::new(DryRun) as Arc<dyn ProbeEndpoint>,
            makers: Makers {
                dry_run: true,
                ..self.makers
            },
            ..self
        }
    }
}

/// Whoever makes sessions is asked with the key for that; without one, whoever stands behind the prefix of the API.
fn genfity_probe(
    api: &Url,
    gateway: Option<&(BaseUrl, InternalKey)>,
    server: Option<&(BaseUrl, ApiKey)>,
) -> Result<HttpProbe, InvalidEndpoint> {
    match (gateway, server) {
        (Some((base, key)), _) => HttpProbe::gateway(base.url(), Some(key)),
        (None, Some((base, token))) => HttpProbe::wa_server(base.url(), Some(token.secret())),
        (None, None) => match gateway_base(api) {
            Some(base) => HttpProbe::gateway(&base, None),
            None => HttpProbe::wa_server(api, None),
        },
    }
}

/// The gateway's own base, when this is the prefix under which it serves the WhatsApp API.
pub(crate) fn gateway_base(api: &Url) -> Option<Url> {
    let path = api.path().trim_end_matches('/');
    let base = path.strip_suffix("/wa")?;
    let mut url = api.clone();
    url.set_path(base.strip_suffix("/v1").unwrap_or(base));
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::gateway_base;

    #[test]
    fn the_gateway_is_where_its_prefix_begins() {
        for (api, base) in [
            ("https://api.example/v1/wa", Some("https://api.example/")),
            ("https://api.example/wa/", Some("https://api.example/")),
            (
                "http://10.0.0.1:8090/support/v1/wa",
                Some("http://10.0.0.1:8090/support"),
            ),
            ("http://10.0.0.1:8080", None),
            ("http://10.0.0.1:8080/api", None),
        ] {
            let found = gateway_base(&api.parse().unwrap());
            assert_eq!(found.as_ref().map(url::Url::as_str), base, "{api}");
        }
    }
}
