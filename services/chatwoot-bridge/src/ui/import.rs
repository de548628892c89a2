//! The predecessor's routes out of its SQLite file, which the browser sends: first what would be done, then the same again
//! to do it. Nothing of the file stays here.

use std::io::Write as _;

use ::web::openapi::{Api, Doc, text};
use ::web::{ApiError, read_body};
use actix_multipart::Multipart;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _};
use askama::Template;
use console::{Frame, Language};
use domain::ids::TenantId;
use futures_util::{StreamExt as _, stream};
use serde_json::{Map, json};
use tempfile::NamedTempFile;

use super::visit::Visit;
use super::words::{Refusal, State};
use super::{page, refusals};
use crate::api::Admin;
use crate::api::fields::{Body, invalid};
use crate::flows::import_routes::{Import, NotImported, Outcome, Report, Row};
use crate::store::original;
use crate::webhooks::chatwoot::DEFAULT_INSTALLATION;

/// Largest file, in bytes: hundreds of thousands of routes.
const LIMIT: usize = 32 * 1024 * 1024;
/// Longest value of a field beside it.
const LONGEST: usize = 200;
/// Rows that are shown; all are counted.
const SHOWN: usize = 500;

#[derive(Template)]
#[template(path = "import.html")]
struct ImportPage {
    frame: Frame,
    problem: String,
    tenant: String,
    installation: String,
    routes_tenant: String,
    done: Option<DoneView>,
}

struct DoneView {
    dry_run: bool,
    read: usize,
    imported: usize,
    rows: Vec<RowView>,
    more: bool,
}

struct RowView {
    id: i64,
    new: String,
    inbox: String,
    url: String,
    outcome: State,
    reason: String,
}

pub(super) fn routes(api: &mut Api) {
    let upload = Doc::new("Take over the predecessor's routes, or say what would be done")
        .takes_as("multipart/form-data", json!({"type": "object"}))
        .answers_as(200, "What was done", "text/html", text());
    api.get(
        "/panel/import",
        page("The form that takes over the predecessor's routes"),
        form,
    )
    .post("/panel/import", refusals(upload), upload_file);
}

async fn form(visit: Visit, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    Ok(shown(
        StatusCode::OK,
        &visit,
        &admin,
        String::new(),
        &Given::default(),
        None,
    ))
}

fn shown(
    status: StatusCode,
    visit: &Visit,
    admin: &Admin,
    problem: String,
    given: &Given,
    done: Option<DoneView>,
) -> HttpResponse {
    console::page(
        status,
        &ImportPage {
            frame: visit.frame("import"),
            problem,
            tenant: given.tenant.clone(),
            installation: given.installation.clone(),
            routes_tenant: admin.routes_tenant.to_string(),
            done,
        },
    )
}

/// What the form held.
#[derive(Default)]
struct Given {
    file: Vec<u8>,
    tenant: String,
    installation: String,
    /// Nothing else does anything.
    for_real: bool,
}

async fn upload_file(
    visit: Visit,
    request: HttpRequest,
    payload: Payload,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let body = read_body(&request, payload, LIMIT).await?;
    let body = stream::once(std::future::ready(Ok::<_, actix_web::error::PayloadError>(body)));
    let given = read(Multipart::new(request.headers(), body)).await?;
    match import(&visit, &admin, &given).await {
        Ok(report) => {
            let done = DoneView::new(visit.l(), &report);
            Ok(shown(
                StatusCode::OK,
                &visit,
                &admin,
                String::new(),
                &given,
                Some(done),
            ))
        }
        Err(error) => {
            let problem = Refusal::of(&error).lines(visit.l()).join(" ");
            Ok(shown(error.status_code(), &visit, &admin, problem, &given, None))
        }
    }
}

async fn read(mut form: Multipart) -> Result<Given, ApiError> {
    let broken = |_| ApiError::bad_request("upload_broken", "The form cannot be read");
    let mut given = Given::default();
    while let Some(field) = form.next().await {
        let mut field = field.map_err(broken)?;
        let name = field.name().unwrap_or_default().to_owned();
        let mut bytes = Vec::new();
        while let Some(chunk) = field.next().await {
            bytes.extend_from_slice(&chunk.map_err(broken)?);
        }
        let text = || {
            String::from_utf8_lossy(&bytes)
                .trim()
                .chars()
                .take(LONGEST)
                .collect()
        };
        match name.as_str() {
            "tenantId" => given.tenant = text(),
            "installation" => given.installation = text(),
            "do" => given.for_real = bytes == b"import",
            "file" => given.file = bytes,
            _ => {}
        }
    }
    Ok(given)
}

async fn import(visit: &Visit, admin: &Admin, given: &Given) -> Result<Report, ApiError> {
    let mut fields = Map::new();
    for (name, value) in [("tenantId", &given.tenant), ("installation", &given.installation)] {
        if !value.is_empty() {
            fields.insert(name.to_owned(), json!(value));
        }
    }
    let mut body = Body::of(fields);
    let tenant: Option<TenantId> = body.tenant("tenantId");
    let installation = body.installation("installation");
    if given.file.is_empty() {
        body.wrong("file", "is needed");
    }
    body.finish()?;
    let bytes = given.file.clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut file = NamedTempFile::new()?;
        file.write_all(&bytes)?;
        original::read(file.path())
    });
    let rows = read
        .await
        .map_err(|_| ApiError::internal())?
        .map_err(|error: original::UnreadableFile| invalid([("file", error.to_string())]))?;
    let scope = admin.scope(tenant);
    let import = Import {
        tools: &admin.tools,
        outbound: &admin.outbound,
        scope: &scope,
        installation: installation.as_deref().unwrap_or(DEFAULT_INSTALLATION),
        dry_run: !given.for_real,
        actor: &visit.actor,
    };
    import.run(&rows).await.map_err(|error| match error {
        NotImported::Database(error) => crate::error::answer(&error),
        NotImported::Encryption(error) => {
            tracing::error!(%error, "a secret cannot be sealed or opened");
            ApiError::internal()
        }
    })
}

impl DoneView {
    fn new(l: Language, report: &Report) -> Self {
        let row = |row: &Row| RowView {
            id: row.id,
            new: row.new_id.map(|id| id.to_string()).unwrap_or_default(),
            inbox: row.inbox_id.map(|id| id.to_string()).unwrap_or_default(),
            url: row.webhook_url.clone(),
            outcome: match row.outcome {
                Outcome::Imported => State::new("ok", l.t("A route", "Menjadi rute")),
                Outcome::ImportedOff => State::new("warn", l.t("A route, off", "Menjadi rute, nonaktif")),
                Outcome::Unchanged => State::new("idle", l.t("There already", "Sudah ada")),
                Outcome::Different => State::new(
                    "warn",
                    l.t("Leads elsewhere here; stays", "Di sini mengarah lain; tetap"),
                ),
                Outcome::Taken => State::new("bad", l.t("Somebody else's inbox", "Inbox milik lain")),
                Outcome::Skipped => State::new("bad", l.t("Left out", "Dilewati")),
            },
            reason: row.reason.clone().unwrap_or_default(),
        };
        Self {
            dry_run: report.dry_run,
            read: report.read,
            imported: report.imported,
            rows: report.routes.iter().take(SHOWN).map(row).collect(),
            more: report.routes.len() > SHOWN,
        }
    }
}
