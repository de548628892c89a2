//! `/admin/installations`: API tokens of Chatwoot accounts, for routes to URLs. A token goes in and never comes out.

use ::web::openapi::{Api, Doc, fields, flag, list, object, text, whole};
use ::web::{ApiError, Query, note_tenant};
use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use database::DatabaseError;
use domain::ids::TenantId;
use serde_json::{Value, json};
use tenant_isolation::{TenantScope, TenantTransaction};
use url::Url;

use super::basic_auth::Operator;
use super::fields::{Body, digits, invalid};
use super::{Admin, group};
use crate::error::answer;
use crate::store::audit_log::{self, Actor};
use crate::store::inboxes::InboxKey;
use crate::store::installations::{self, Installation};
use crate::webhooks::chatwoot::DEFAULT_INSTALLATION;

/// What is wrong with a place that is named in a query.
const WHICH: &str = "tenantId, installation and accountId must name an account";

pub(crate) fn routes(api: &mut Api) {
    api.group(group("Chatwoot accounts"));
    let account = object([
        ("tenantId", text()),
        ("installation", text()),
        ("accountId", whole()),
        ("url", text()),
    ]);
    let all = Doc::new("The Chatwoot accounts of a tenant whose API token is known")
        .query("tenantId", text(), "the tenant; the usual one where nobody says")
        .answers(200, "The accounts", object([("installations", list(account))]));
    let put = Doc::new("Store the API token of a Chatwoot account")
        .takes(fields([
            ("tenantId", text()),
            ("installation", text()),
            ("accountId", whole()),
            ("url", text()),
            ("apiToken", text()),
        ]))
        .answers(200, "It is stored", object([("success", flag())]))
        .refuses(&[(422, "A field is not what it has to be; `fields` names each")]);
    let gone = Doc::new("Forget the API token of a Chatwoot account")
        .query("tenantId", text(), "the tenant; the usual one where nobody says")
        .query("installation", text(), "our name for the server")
        .query("accountId", whole(), "Chatwoot's account")
        .answers(200, "It is gone", object([("success", flag())]));
    api.get("/installations", all, list_all)
        .put("/installations", put, store)
        .delete("/installations", gone, forget);
}

async fn list_all(_operator: Operator, query: Query, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let scope = scope(&admin, &query)?;
    let listed = async {
        let mut tx = TenantTransaction::begin(&admin.tools.db, &scope, "list installations").await?;
        let listed = installations::list(&mut tx).await?;
        tx.commit().await?;
        Ok::<_, DatabaseError>(listed)
    };
    let listed = listed.await.map_err(|error| answer(&error))?;
    let wire = |row: &Installation| {
        json!({
            "tenantId": scope.tenant(), "installation": row.installation, "accountId": row.chatwoot_account_id,
            "url": row.chatwoot_url,
        })
    };
    let rows: Vec<Value> = listed.iter().map(wire).collect();
    Ok(HttpResponse::Ok().json(json!({"installations": rows})))
}

async fn store(
    operator: Operator,
    request: HttpRequest,
    body: Payload,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    put(&admin, Body::read(&request, body).await?, &operator.0).await?;
    Ok(HttpResponse::Ok().json(json!({"success": true})))
}

/// Stores the token that a body has.
pub(crate) async fn put(admin: &Admin, mut body: Body, actor: &Actor) -> Result<(), ApiError> {
    let (installation, account) = (body.installation("installation"), body.id("accountId"));
    if account.is_none() && body.is_nothing("accountId") {
        body.wrong("accountId", "is needed");
    }
    let token = body.secret_or_nothing("apiToken", 1).flatten();
    if token.is_none() {
        body.wrong("apiToken", "is needed");
    }
    let url = base_url(&mut body, admin);
    let scope = admin.scope(body.tenant("tenantId"));
    body.finish()?;
    let (Some(account), Some(token), Some(url)) = (account, token, url) else {
        return Err(ApiError::internal());
    };
    note_tenant(&scope);
    let installation = installation.unwrap_or_else(|| DEFAULT_INSTALLATION.to_owned());
    let place = Installation::token_place(scope.tenant().as_str(), &installation, account);
    let sealed = admin.tools.keys.seal(&token, &place);
    let row = Installation {
        installation,
        chatwoot_account_id: account,
        chatwoot_url: url,
        api_token_sealed: sealed.map_err(|_| ApiError::internal())?,
    };
    let stored = async {
        let mut tx = TenantTransaction::begin(&admin.tools.db, &scope, "store installation").await?;
        installations::put(&mut tx, &row).await?;
        let act = actor.act(
            "installation.put",
            Some(format!("{}/{account}", row.installation)),
        );
        audit_log::note(&mut tx, &act).await?;
        tx.commit().await
    };
    stored.await.map_err(|error| answer(&error))
}

/// The base URL of a Chatwoot, without a slash at the end.
pub(crate) fn base_url(body: &mut Body, admin: &Admin) -> Option<String> {
    let Some(text) = body.text("url", 500) else {
        if body.is_nothing("url") {
            body.wrong("url", "is needed");
        }
        return None;
    };
    match Url::parse(&text).map(|url| (admin.outbound.check(&url), url)) {
        Ok((Ok(()), url)) => Some(url.as_str().trim_end_matches('/').to_owned()),
        Ok((Err(refusal), _)) => {
            body.wrong("url", refusal.to_string());
            None
        }
        Err(_) => {
            body.wrong("url", "must be a whole URL, such as https://chat.example");
            None
        }
    }
}

async fn forget(operator: Operator, query: Query, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let scope = scope(&admin, &query)?;
    let installation = query.get("installation").unwrap_or(DEFAULT_INSTALLATION);
    let account = query.get("accountId").and_then(digits);
    let (Some(account), true) = (account, InboxKey::is_installation(installation)) else {
        return Err(invalid([("accountId", WHICH.to_owned())]));
    };
    let removed = remove(&admin, &scope, (installation, account), &operator.0).await;
    if removed.map_err(|error| answer(&error))? {
        return Ok(HttpResponse::Ok().json(json!({"success": true})));
    }
    Err(ApiError::new(
        StatusCode::NOT_FOUND,
        "no_such_installation",
        "No token of this account is stored",
    ))
}

/// Forgets a token. False when none is stored.
pub(crate) async fn remove(
    admin: &Admin,
    scope: &TenantScope,
    (installation, account): (&str, i64),
    actor: &Actor,
) -> Result<bool, DatabaseError> {
    let mut tx = TenantTransaction::begin(&admin.tools.db, scope, "forget installation").await?;
    let removed = installations::remove(&mut tx, installation, account).await?;
    if removed {
        let act = actor.act("installation.delete", Some(format!("{installation}/{account}")));
        audit_log::note(&mut tx, &act).await?;
    }
    tx.commit().await?;
    Ok(removed)
}

fn scope(admin: &Admin, query: &Query) -> Result<TenantScope, ApiError> {
    let named = query.get("tenantId").map(TenantId::parse).transpose();
    let named = named.map_err(|_| invalid([("tenantId", "must be a tenant's id".to_owned())]))?;
    Ok(admin.scope(named))
}
