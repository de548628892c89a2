//! The start page: what needs attention, and where to go when nothing does.

use ::web::ApiError;
use ::web::openapi::Api;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use askama::Template;
use chrono::{DateTime, Utc};
use console::Frame;
use database::DatabaseError;
use tenant_isolation::{PlatformScope, PlatformTransaction};

use super::page;
use super::visit::Visit;
use super::words::{self, State};
use crate::api::Admin;
use crate::error::answer;
use crate::store::deliveries;
use crate::store::drift_reports::{self, WrongWebhook};
use crate::store::route_times::{self, HangingRoute};
use crate::store::unrouted_inboxes::{self, UnroutedInbox};

/// What is counted exactly; more is said as more.
const COUNTED: i64 = 10_000;
/// Of each sort that is shown here.
const SOME: i64 = 5;
/// A target hangs that took nothing for so long.
const HANGS_MINUTES: f64 = 10.0;

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    frame: Frame,
    events: i64,
    tasks: i64,
    counted: i64,
    hanging: Vec<HangingRoute>,
    wrong: Vec<WrongView>,
    seen: Vec<UnroutedInbox>,
    has_routes: bool,
}

struct WrongView {
    number: i64,
    state: State,
    since: Option<DateTime<Utc>>,
}

impl Home {
    const fn all_is_well(&self) -> bool {
        self.events == 0
            && self.tasks == 0
            && self.hanging.is_empty()
            && self.wrong.is_empty()
            && self.seen.is_empty()
    }

    fn many(&self, count: &i64) -> String {
        let shown = self.frame.l.number(*count);
        if *count >= self.counted {
            format!("{shown}+")
        } else {
            shown
        }
    }
}

pub(super) fn routes(api: &mut Api) {
    api.get("", page("The panel: what needs attention"), home);
}

async fn home(visit: Visit, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let l = visit.l();
    let found = async {
        let platform = PlatformScope::for_purpose("look what needs attention");
        let mut tx = PlatformTransaction::begin(&admin.tools.db, platform).await?;
        let (events, tasks) = deliveries::aside_counts(&mut tx, COUNTED).await?;
        let hanging = route_times::hanging(&mut tx, HANGS_MINUTES, SOME).await?;
        let wrong = drift_reports::wrong(&mut tx, None, SOME).await?;
        let seen = unrouted_inboxes::list(&mut tx, SOME).await?;
        let has_routes = !crate::store::routes::list(&mut tx, None, 1).await?.is_empty();
        tx.commit().await?;
        Ok::<_, DatabaseError>((events, tasks, hanging, wrong, seen, has_routes))
    };
    let (events, tasks, hanging, wrong, seen, has_routes) = found.await.map_err(|error| answer(&error))?;
    let view = |wrong: WrongWebhook| WrongView {
        number: wrong.number,
        state: words::drift(l, &wrong.state),
        since: wrong.since,
    };
    Ok(console::page(
        StatusCode::OK,
        &Home {
            frame: visit.frame("home"),
            events,
            tasks,
            counted: COUNTED,
            hanging,
            wrong: wrong.into_iter().map(view).collect(),
            seen,
            has_routes,
        },
    ))
}
