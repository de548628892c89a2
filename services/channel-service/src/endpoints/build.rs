//! From an endpoint's settings to the ways to it. A new provider's clients are put together here.

use std::sync::Arc;

use url::Url;
use whatsapp::cloud::{GraphCourtesy, GraphEndpoint, GraphMedia, GraphSender, GraphSessions, GraphTemplates};
use whatsapp::courtesy::ShowCourtesy;
use whatsapp::credentials::BasicAuth;
use whatsapp::download::DownloadMedia;
use whatsapp::dry_run::DryRun;
use whatsapp::genfity::{
    Endpoint, GenfityCourtesy, GenfityDownloads, GenfityPictures, GenfitySender, GenfitySessions,
    InternalKey, InvalidEndpoint, SupportGateway, WaAdmin,
};
use whatsapp::gowa::{
    GowaCourtesy, GowaDevices, GowaDownloads, GowaEndpoint, GowaPictures, GowaSender, GowaSessions,
};
use whatsapp::picture::FindPicture;
use whatsapp::port::SendMessage;
use whatsapp::probe::{HttpProbe, ProbeEndpoint};
use whatsapp::session::ManageSession;

use super::outage::Outage;
use super::{CallSettings, LiveEndpoint};
use crate::config::{
    ApiKey, CloudSettings, EndpointSettings, OutageSettings, ProviderSettings, gateway_base,
};
use crate::flows::session::Makers;
use runtime::config::BaseUrl;

/// The ways to one endpoint.
struct Ways {
    sender: Arc<dyn SendMessage>,
    sessions: Arc<dyn ManageSession>,
    courtesy: Arc<dyn ShowCourtesy>,
    downloads: Arc<dyn DownloadMedia>,
    pictures: Option<Arc<dyn FindPicture>>,
    probe: Arc<dyn ProbeEndpoint>,
    makers: Makers,
}

impl LiveEndpoint {
    pub(super) fn build(settings: &EndpointSettings, calls: CallSettings) -> Result<Self, InvalidEndpoint> {
        let live = match &settings.provider {
            ProviderSettings::Genfity { gateway, server } => {
                Self::genfity(settings, calls, gateway.as_ref(), server.as_ref())?
            }
            ProviderSettings::Gowa { auth } => Self::gowa(settings, calls, auth.as_ref())?,
            ProviderSettings::Cloud(cloud) => Self::graph(settings, calls, cloud)?,
        };
        let live = Self {
            outage: Outage::new(settings.name.clone(), calls.outage),
            ..live
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
            devices: None,
            dry_run: calls.dry_run,
        };
        let ways = Ways {
            sender: Arc::new(GenfitySender::new(
                &endpoint.clone().with_total_timeout(calls.longest_send()),
            )?),
            sessions: Arc::new(GenfitySessions::new(&endpoint)?),
            courtesy: Arc::new(GenfityCourtesy::new(&endpoint)?),
            downloads: Arc::new(GenfityDownloads::new(&endpoint)?),
            pictures: Some(Arc::new(GenfityPictures::new(&endpoint)?)),
            probe: Arc::new(genfity_probe(settings.api_url.url(), gateway, server)?),
            makers,
        };
        Ok(Self::reached_by(settings, ways))
    }

    fn gowa(
        settings: &EndpointSettings,
        calls: CallSettings,
        auth: Option<&BasicAuth>,
    ) -> Result<Self, InvalidEndpoint> {
        let endpoint =
            GowaEndpoint::new(settings.api_url.url().clone(), auth)?.with_total_timeout(calls.timeout);
        let ways = Ways {
            sender: Arc::new(GowaSender::new(
                &endpoint.clone().with_total_timeout(calls.longest_send()),
            )?),
            sessions: Arc::new(GowaSessions::new(&endpoint)?),
            courtesy: Arc::new(GowaCourtesy::new(&endpoint)?),
            downloads: Arc::new(GowaDownloads::new(&endpoint)?),
            pictures: Some(Arc::new(GowaPictures::new(&endpoint)?)),
            probe: Arc::new(HttpProbe::gowa(settings.api_url.url(), auth)?),
            makers: Makers {
                devices: Some(GowaDevices::new(&endpoint)?),
                ..Makers::default()
            },
        };
        Ok(Self::reached_by(settings, ways))
    }

    fn graph(
        settings: &EndpointSettings,
        calls: CallSettings,
        cloud: &CloudSettings,
    ) -> Result<Self, InvalidEndpoint> {
        let endpoint = GraphEndpoint::new(
            settings.api_url.url().clone(),
            cloud.access_token.secret().clone(),
        )?
        .with_total_timeout(calls.timeout);
        let number = cloud.phone_number_ids.first().map(String::as_str);
        let ways = Ways {
            sender: Arc::new(GraphSender::new(
                &endpoint.clone().with_total_timeout(calls.longest_send()),
            )?),
            sessions: Arc::new(GraphSessions::new(&endpoint)?),
            courtesy: Arc::new(GraphCourtesy::new(&endpoint)?),
            downloads: Arc::new(GraphMedia::new(&endpoint)?),
            pictures: None,
            probe: Arc::new(HttpProbe::graph(&endpoint, number)?),
            makers: Makers::default(),
        };
        Ok(Self {
            templates: Some(GraphTemplates::new(&endpoint)?),
            ..Self::reached_by(settings, ways)
        })
    }

    fn reached_by(settings: &EndpointSettings, ways: Ways) -> Self {
        Self {
            name: settings.name.clone(),
            provider: settings.provider.kind(),
            sender: ways.sender,
            sessions: ways.sessions,
            courtesy: ways.courtesy,
            downloads: ways.downloads,
            pictures: ways.pictures,
            probe: ways.probe,
            makers: ways.makers,
            webhook_keys: settings.webhook_keys.clone(),
            templates: None,
            cloud: match &settings.provider {
                ProviderSettings::Cloud(cloud) => Some(cloud.clone()),
                ProviderSettings::Genfity { .. } | ProviderSettings::Gowa { .. } => None,
            },
            outage: Outage::new(settings.name.clone(), OutageSettings::default()),
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
            pictures: None,
            templates: None,
            makers: Makers {
                devices: None,
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
