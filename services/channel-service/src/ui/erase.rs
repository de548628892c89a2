//! A tenant is erased: asked for once more, begun, and looked at until it is gone.
//!
//! The work goes on behind the page, so a large tenant holds no browser up. It can be begun again at any time; what a
//! process that ended left behind goes then.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use askama::Template;
use console::{Frame, page, see_other};

use super::errors::PageError;
use super::frame::name;
use super::tenants::HERE;
use super::visit::{TenantPosted, TenantVisit, Visit};
use crate::app::State;
use crate::flows::erase_tenant::{self, EraseError};
use crate::flows::tenant;
use crate::store::tenant::TenantRow;

/// Small tenants are gone within this time, and nobody sees a page in between.
const AT_ONCE: Duration = Duration::from_secs(2);

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/tenants/{tenant}/erase", web::get().to(ask))
        .route("/tenants/{tenant}/erase", web::post().to(erase))
        .route("/tenants/{tenant}/erasing", web::get().to(erasing));
}

#[derive(Template)]
#[template(path = "tenants/erase.html")]
struct Ask {
    frame: Frame,
    id: String,
    name: String,
    /// Where the form is sent.
    action: String,
    wrong: String,
}

fn asked(visit: &TenantVisit, status: StatusCode, wrong: &str) -> HttpResponse {
    page(
        status,
        &Ask {
            frame: visit.frame("tenant"),
            id: visit.tenant.tenant_id.clone(),
            name: name(&visit.tenant).to_owned(),
            action: format!("{HERE}/{}/erase", visit.tenant.tenant_id),
            wrong: wrong.to_owned(),
        },
    )
}

async fn ask(visit: TenantVisit) -> Result<HttpResponse, PageError> {
    visit.superadmin()?;
    Ok(asked(&visit, StatusCode::OK, ""))
}

async fn erase(posted: TenantPosted, state: Data<State>) -> Result<HttpResponse, PageError> {
    let TenantPosted { visit, fields } = posted;
    visit.superadmin()?;
    let l = visit.l();
    if fields.text("confirm")?.map(str::trim) != Some(visit.scope.tenant().as_str()) {
        let words = l.t(
            "This is not the tenant's id. Nothing was erased.",
            "Ini bukan id tenant tersebut. Tidak ada yang dihapus.",
        );
        return Ok(asked(&visit, StatusCode::UNPROCESSABLE_ENTITY, words));
    }
    let (scope, actor) = (visit.scope.clone(), visit.actor());
    let work = tokio::spawn(async move {
        let files = Some(&state.media.storage);
        let state = &state;
        let erased = erase_tenant::erase(
            &state.db,
            &state.keys,
            &state.redis,
            &state.routes,
            files,
            &scope,
            &actor,
        )
        .await;
        if let Err(error) = &erased {
            tracing::warn!(tenant = %scope.tenant(), error = %crate::error::chain(error), "a tenant was not erased, or not wholly");
        }
        erased
    });
    match tokio::time::timeout(AT_ONCE, work).await {
        Ok(Ok(Ok(_))) => Ok(see_other(format!("{HERE}?said=erased"))),
        Ok(Ok(Err(EraseError::NoSuchTenant))) => Err(PageError::NotFound),
        Ok(Ok(Err(EraseError::Database(error)))) => Err(error.into()),
        Ok(Ok(Err(EraseError::Sessions(error)))) => {
            Err(PageError::Service(crate::error::ServiceError::Session(error)))
        }
        // Still at it; a task that died is seen there as well.
        Ok(Err(_)) | Err(_) => Ok(see_other(format!("{HERE}/{}/erasing", visit.scope.tenant()))),
    }
}

#[derive(Template)]
#[template(path = "tenants/erasing.html")]
struct Erasing {
    frame: Frame,
    id: String,
    gone: bool,
}

/// What is left of it is not counted: its row goes last.
async fn erasing(
    visit: Visit,
    path: web::Path<String>,
    state: Data<State>,
) -> Result<HttpResponse, PageError> {
    visit.superadmin()?;
    let scope = visit.tenant(&path)?;
    let left = tenant::find(&state.db, &scope).await?;
    // Whatever is erased is suspended first.
    if left.as_ref().is_some_and(TenantRow::is_active) {
        return Ok(see_other(format!("{HERE}/{}/erase", scope.tenant())));
    }
    let gone = left.is_none();
    Ok(page(
        StatusCode::OK,
        &Erasing {
            frame: visit.frame("tenants"),
            id: scope.tenant().to_string(),
            gone,
        },
    ))
}
