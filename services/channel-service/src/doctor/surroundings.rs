//! Hosts and addresses that the settings name.

use domain::check::Check;
use secrecy::ExposeSecret as _;
use web::doctor::Host;

use crate::config::{Known, ProviderSettings, StorageSettings};

/// Every host that the service dials, by its setting.
pub(super) fn hosts(known: &Known) -> Vec<(String, Host)> {
    let mut urls: Vec<(String, String)> = Vec::new();
    let mut add = |setting: &str, url: Option<&str>| {
        urls.extend(url.map(|url| (setting.to_owned(), url.to_owned())));
    };
    let database = known.database.as_ref().map(|url| format!("{url:?}"));
    add("DATABASE_URL", database.as_deref());
    add("REDIS_URL", known.redis.as_ref().map(|url| url.expose_secret()));
    add(
        "RABBITMQ_URL",
        known.rabbitmq.as_ref().map(|url| url.expose_secret()),
    );
    add(
        "AI_SERVICE_URL",
        known.ai_service.base.as_ref().map(|url| url.as_str()),
    );
    if let Some(StorageSettings::S3(s3)) = known.media.as_ref().map(|media| &media.storage) {
        add("MEDIA_S3_ENDPOINT", s3.endpoint.as_ref().map(|url| url.as_str()));
    }
    for endpoint in known.endpoints.iter().flat_map(|endpoints| &endpoints.list) {
        let name = &endpoint.name;
        add(&format!("endpoint {name}"), Some(endpoint.api_url.as_str()));
        if let ProviderSettings::Genfity { gateway, server } = &endpoint.provider {
            let gateway = gateway.as_ref().map(|(url, _)| url.as_str());
            add(&format!("endpoint {name}, its gateway"), gateway);
            let server = server.as_ref().map(|(url, _)| url.as_str());
            add(&format!("endpoint {name}, its server"), server);
        }
    }
    urls.into_iter()
        .filter_map(|(setting, url)| Some((setting, Host::of_url(&url)?)))
        .collect()
}

/// Addresses under which others find us.
pub(super) fn addresses(known: &Known) -> Vec<Check> {
    let mut checks = Vec::new();
    let Some(internal) = &known.internal else {
        return checks;
    };
    const BASE: &str = "PUBLIC_CHANNEL_BASE_URL";
    let cloud = known
        .endpoints
        .iter()
        .flat_map(|endpoints| &endpoints.list)
        .any(|endpoint| matches!(endpoint.provider, ProviderSettings::Cloud(_)));
    checks.push(match &internal.public_base {
        None => Check::warn(
            BASE,
            "is not set: sessions that are made post their events nowhere",
            "set it to where the WhatsApp server reaches this service",
        ),
        Some(base) if cloud && base.url().scheme() != "https" => Check::wrong(
            BASE,
            "is not https, and Meta posts to nothing else",
            "put a proxy with a certificate in front, and set its address",
        ),
        Some(_) => Check::ok(BASE, "is set"),
    });
    let is_here = |url: &str| {
        let host = Host::of_url(url);
        ["http://localhost", "http://127.0.0.1"]
            .iter()
            .any(|here| Host::of_url(here) == host)
    };
    if let Some(media) = &known.media {
        let elsewhere = internal
            .public_base
            .as_ref()
            .is_some_and(|base| !is_here(base.as_str()));
        if elsewhere && is_here(media.public_url.as_str()) {
            checks.push(Check::warn(
                "MEDIA_PUBLIC_URL",
                "leads to the reader's own machine, so browsers elsewhere find no file",
                "set it to `/uploads` under the address that browsers use",
            ));
        } else {
            checks.push(Check::ok("MEDIA_PUBLIC_URL", "leads to where browsers can be"));
        }
    }
    if known.sessions.as_ref().is_some_and(|sessions| sessions.dry_run) {
        checks.push(Check::warn(
            "WA_DRY_RUN",
            "is on: nothing goes out, and every send succeeds",
            "take it out where people are to be written to",
        ));
    }
    checks
}
