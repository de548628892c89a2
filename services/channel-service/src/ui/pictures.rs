//! Plots of throughput, latency, failures and health.

use ::web::Query;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use askama::Template;
use console::plot::{self, Series, Span, State as Shown, Tone, Unit, Words};
use console::{Frame, Language, page};

use super::errors::PageError;
use super::visit::{TenantVisit, Visit};
use super::wording::{self, Health};
use crate::app::State;
use crate::flows::pictures::{self, HealthPicture, Picture, Range};
use crate::flows::tenant_config;
use crate::traffic::{Counted, Counts};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/pictures", web::get().to(overall))
        .route("/t/{tenant}/pictures", web::get().to(of_tenant));
}

/// Endpoints whose health is drawn on the page of all; the others have pages of their own.
const STRIPS: usize = 12;

#[derive(Template)]
#[template(path = "pictures/pictures.html")]
struct Page {
    frame: Frame,
    /// The page's own address.
    here: String,
    ranges: Vec<RangeLink>,
    numbers: Vec<Number>,
    /// Ready to be shown.
    plots: Vec<String>,
    strips: Vec<String>,
    /// Endpoints that are not drawn.
    more_endpoints: usize,
    is_superadmin: bool,
    is_overall: bool,
}

/// A range that can be chosen.
pub(super) struct RangeLink {
    pub(super) code: &'static str,
    pub(super) words: &'static str,
    pub(super) is_chosen: bool,
}

struct Number {
    words: &'static str,
    number: String,
    tone: &'static str,
}

/// What was asked for; what is no range is the usual one.
pub(super) fn wanted(query: &Query) -> Range {
    query.get("range").and_then(Range::parse).unwrap_or_default()
}

pub(super) fn links(l: Language, of: &[Range], chosen: Range) -> Vec<RangeLink> {
    let words = |range| match range {
        Range::Hour => l.t("1 hour", "1 jam"),
        Range::Day => l.t("24 hours", "24 jam"),
        Range::Week => l.t("7 days", "7 hari"),
        Range::Month => l.t("30 days", "30 hari"),
    };
    let link = |range: &Range| RangeLink {
        code: range.as_str(),
        words: words(*range),
        is_chosen: *range == chosen,
    };
    of.iter().map(link).collect()
}

async fn overall(visit: Visit, query: Query, state: Data<State>) -> Result<HttpResponse, PageError> {
    visit.superadmin()?;
    let range = wanted(&query);
    let picture = pictures::overall(&state.db, range).await?;
    let names = state.endpoints.names();
    let shown: Vec<&str> = names
        .iter()
        .map(domain::endpoint::EndpointName::as_str)
        .take(STRIPS)
        .collect();
    let health = pictures::health(&state.db, &shown, range).await?;
    let l = visit.l();
    let template = Page {
        frame: visit.frame("pictures"),
        here: "/dashboard/pictures".to_owned(),
        ranges: links(l, &Range::ALL, range),
        numbers: numbers(l, &picture.total()),
        plots: plots(l, &picture),
        strips: shown.iter().map(|name| strip(l, name, &health)).collect(),
        more_endpoints: names.len().saturating_sub(STRIPS),
        is_superadmin: true,
        is_overall: true,
    };
    Ok(page(StatusCode::OK, &template))
}

async fn of_tenant(visit: TenantVisit, query: Query, state: Data<State>) -> Result<HttpResponse, PageError> {
    let range = wanted(&query);
    let picture = pictures::of_tenant(&state.db, &visit.scope, range).await?;
    let config = tenant_config::show(&state.db, &state.endpoints, &visit.scope).await?;
    let endpoint = config
        .filter(|config| config.is_available)
        .and_then(|config| config.endpoint);
    let l = visit.l();
    let strips = match &endpoint {
        Some(name) => {
            let health = pictures::health(&state.db, &[name.as_str()], range).await?;
            vec![strip(l, name, &health)]
        }
        None => Vec::new(),
    };
    let template = Page {
        frame: visit.frame("pictures"),
        here: format!("/dashboard/t/{}/pictures", visit.scope.tenant()),
        ranges: links(l, &Range::ALL, range),
        numbers: numbers(l, &picture.total()),
        plots: plots(l, &picture),
        strips,
        more_endpoints: 0,
        is_superadmin: visit.is_superadmin(),
        is_overall: false,
    };
    Ok(page(StatusCode::OK, &template))
}

fn numbers(l: Language, total: &Counts) -> Vec<Number> {
    let failed = [Counted::Failed, Counted::Parked, Counted::Unknown];
    let failed: u64 = failed.into_iter().map(|counted| total.of(counted)).sum();
    let number = |words, number: u64, tone| Number {
        words,
        number: l.number(number),
        tone,
    };
    vec![
        number(l.t("Received", "Diterima"), total.of(Counted::Received), ""),
        number(l.t("Sent", "Terkirim"), total.of(Counted::Sent), ""),
        number(l.t("Delivered", "Sampai"), total.of(Counted::Delivered), ""),
        number(
            l.t("Not sent", "Tidak terkirim"),
            failed,
            if failed > 0 { "bad" } else { "" },
        ),
        Number {
            words: l.t("95 of 100 sent within", "95 dari 100 terkirim dalam"),
            number: total
                .quantile(0.95)
                .map_or_else(|| "–".to_owned(), |ms| plot::duration(l, ms)),
            tone: "",
        },
    ]
}

fn plots(l: Language, picture: &Picture) -> Vec<String> {
    let span = Span::in_jakarta(picture.from, picture.until);
    let values = |of: &dyn Fn(&Counts) -> Option<f64>| -> Vec<Option<f64>> {
        picture
            .buckets
            .iter()
            .map(|counts| counts.as_ref().and_then(of))
            .collect()
    };
    let counted = |counted: Counted| values(&|counts: &Counts| Some(plot::number(counts.of(counted))));
    let series = |name, tone, values| Series { name, tone, values };
    let quantile = |share: f64| values(&|counts: &Counts| counts.quantile(share));
    vec![
        plot::lines(
            l,
            Words {
                id: "throughput",
                title: l.t("Messages", "Pesan"),
                description: l.t(
                    "How many messages came in, went out, arrived and were read.",
                    "Berapa banyak pesan yang masuk, keluar, sampai, dan dibaca.",
                ),
            },
            span,
            Unit::Count,
            &[
                series(l.t("Received", "Diterima"), Tone::One, counted(Counted::Received)),
                series(l.t("Sent", "Terkirim"), Tone::Two, counted(Counted::Sent)),
                series(l.t("Delivered", "Sampai"), Tone::Three, counted(Counted::Delivered)),
                series(l.t("Read", "Dibaca"), Tone::Four, counted(Counted::Read)),
            ],
        ),
        plot::lines(
            l,
            Words {
                id: "latency",
                title: l.t("Time until sent", "Waktu sampai terkirim"),
                description: l.t(
                    "From the order to send a message until its server took it: half of the messages, and 95 of 100.",
                    "Dari perintah kirim sampai pesan diterima servernya: separuh pesan, dan 95 dari 100.",
                ),
            },
            span,
            Unit::Milliseconds,
            &[
                series(l.t("Half within", "Separuh dalam"), Tone::One, quantile(0.5)),
                series(l.t("95 of 100 within", "95 dari 100 dalam"), Tone::Two, quantile(0.95)),
            ],
        ),
        plot::bars(
            l,
            Words {
                id: "failures",
                title: l.t("Not sent", "Tidak terkirim"),
                description: l.t(
                    "Messages that were refused, were put aside for a person, or of which nobody knows whether they went out.",
                    "Pesan yang ditolak, disisihkan untuk ditangani, atau yang tidak diketahui apakah terkirim.",
                ),
            },
            span,
            Unit::Count,
            &[
                series(l.t("Refused", "Ditolak"), Tone::Bad, counted(Counted::Failed)),
                series(l.t("Put aside", "Disisihkan"), Tone::Warn, counted(Counted::Parked)),
                series(l.t("Outcome unknown", "Tidak diketahui"), Tone::Idle, counted(Counted::Unknown)),
            ],
        ),
    ]
}

/// How one endpoint was.
pub(super) fn strip(l: Language, name: &str, health: &HealthPicture) -> String {
    let of = health.episodes.iter().filter(|episode| episode.endpoint == name);
    let states: Vec<Shown<'_>> = of
        .map(|episode| {
            let health = Health::of(l, episode.status);
            Shown {
                from: episode.from,
                until: episode.until,
                name: match &episode.reason {
                    Some(reason) => wording::state_for(l, episode.status, reason),
                    None => health.words,
                },
                tone: health.plot,
            }
        })
        .collect();
    let id = format!("health-{name}");
    plot::strip(
        l,
        Words {
            id: &id,
            title: name,
            description: l.t(
                "How the endpoint was: low and green is healthy, higher is worse; a gap means that nobody looked.",
                "Keadaan endpoint: rendah dan hijau berarti sehat, makin tinggi makin buruk; celah berarti tidak diperiksa.",
            ),
        },
        Span::in_jakarta(health.from, health.until),
        &states,
    )
}
