//! The audit log: who did what. Superadmins see all of it, a tenant's admin what was done to the tenant.

use ::web::Query;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use askama::Template;
use console::{Frame, address, page};
use uuid::Uuid;

use super::errors::PageError;
use super::visit::{TenantVisit, Visit};
use crate::app::State;
use crate::flows::audit_log;
use crate::store::audit::{AnyActRow, Wanted};

/// Acts of one page.
const PAGE: usize = 50;
/// Longest text of a filter, in characters: an actor may have an e-mail address.
const MAX_FILTER: usize = 400;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/audit", web::get().to(everywhere))
        .route("/t/{tenant}/audit", web::get().to(of_tenant));
}

#[derive(Template)]
#[template(path = "audit/list.html")]
struct List {
    frame: Frame,
    here: String,
    /// The reader may look at every tenant.
    everywhere: bool,
    tenant: String,
    actor: String,
    kind: String,
    kinds: Vec<String>,
    filtered: bool,
    acts: Vec<AnyActRow>,
    first: String,
    next: String,
}

async fn everywhere(visit: Visit, query: Query, state: Data<State>) -> Result<HttpResponse, PageError> {
    visit.superadmin()?;
    let tenant = filter(&query, "tenant");
    let kinds = audit_log::kinds(&state.db).await?;
    let list = List {
        frame: visit.frame("audit"),
        here: "/dashboard/audit".to_owned(),
        everywhere: true,
        filtered: !tenant.is_empty(),
        tenant,
        kinds,
        ..List::asked(&query)
    };
    shown(list, &query, &state).await
}

async fn of_tenant(visit: TenantVisit, query: Query, state: Data<State>) -> Result<HttpResponse, PageError> {
    let tenant = visit.scope.tenant().to_string();
    let list = List {
        frame: visit.frame("audit"),
        here: format!("/dashboard/t/{tenant}/audit"),
        everywhere: false,
        tenant,
        ..List::asked(&query)
    };
    shown(list, &query, &state).await
}

async fn shown(mut list: List, query: &Query, state: &State) -> Result<HttpResponse, PageError> {
    let before = query.get("before").and_then(|id| Uuid::try_parse(id).ok());
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let wanted = Wanted {
        tenant: given(&list.tenant),
        actor: given(&list.actor).map(whose),
        action: given(&list.kind),
        before,
    };
    list.filtered |= wanted.actor.is_some() || wanted.action.is_some();
    let most = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    list.acts = audit_log::page(&state.db, &wanted, most).await?;
    let more = list.acts.len() > PAGE;
    list.acts.truncate(PAGE);
    let tenant = if list.everywhere { list.tenant.as_str() } else { "" };
    let at = |before: &str| {
        address(
            &list.here,
            &[
                ("tenant", tenant),
                ("actor", &list.actor),
                ("kind", &list.kind),
                ("before", before),
            ],
        )
    };
    let last = list.acts.last().filter(|_| more);
    let next = last.map(|last| at(&last.act.id.to_string()));
    let first = before.map(|_| at(""));
    list.next = next.unwrap_or_default();
    list.first = first.unwrap_or_default();
    Ok(page(StatusCode::OK, &list))
}

impl List {
    fn asked(query: &Query) -> Self {
        Self {
            frame: Frame::default(),
            here: String::new(),
            everywhere: false,
            tenant: String::new(),
            actor: filter(query, "actor"),
            kind: filter(query, "kind"),
            kinds: Vec::new(),
            filtered: false,
            acts: Vec::new(),
            first: String::new(),
            next: String::new(),
        }
    }
}

/// An actor as the log writes one: people are named by their e-mail address there.
fn whose(typed: String) -> String {
    if typed.contains('@') && !typed.contains(' ') {
        format!("user {}", typed.to_ascii_lowercase())
    } else {
        typed
    }
}

fn filter(query: &Query, name: &str) -> String {
    let typed = query.get(name).unwrap_or_default().trim();
    typed
        .chars()
        .filter(|character| *character != '\0')
        .take(MAX_FILTER)
        .collect()
}
