//! The wizard that connects an inbox to a tenant's account on WhatsApp: where Chatwoot is and who may talk to it; which
//! account; which inbox; then all of it is done and tried out both ways.
//!
//! Between the steps the token travels sealed, under our own keys and for some time only: nothing is stored before the
//! last step, and no page shows it.

use ::web::openapi::Api;
use ::web::{ApiError, Fields, Query};
use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpResponse, ResponseError as _};
use askama::Template;
use chrono::Utc;
use console::{Frame, Language};
use domain::ids::TenantId;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

use super::checks::{leg, warning};
use super::route_forms::filled;
use super::visit::Visit;
use super::words::{Refusal, State};
use super::{page, shown};
use crate::api::fields::{Body, invalid};
use crate::api::{self, Admin};
use crate::channel::ChannelAccount;
use crate::chatwoot::InboxAddress;
use crate::chatwoot::inboxes::AccountFound;
use crate::flows::set_up::{SetUp, accounts_of, inboxes_of, set_up};

/// What the token that travels is bound to.
const PLACE: &str = "panel/connect";
/// A wizard that is older begins anew.
const LASTS_SECONDS: i64 = 30 * 60;
/// Most inboxes and accounts that are offered; others are named by their number.
const OFFERED: usize = 200;

/// Where Chatwoot is and what opens it.
struct Door {
    url: String,
    token: SecretString,
}

#[derive(Template)]
#[template(path = "connect/address.html")]
struct AddressStep {
    frame: Frame,
    refusal: Refusal,
    problem: String,
    url: String,
    tenant: String,
    installation: String,
    routes_tenant: String,
    knows_address: bool,
}

#[derive(Template)]
#[template(path = "connect/account.html")]
struct AccountStep {
    frame: Frame,
    carried: Carried,
    accounts: Vec<AccountFound>,
}

#[derive(Template)]
#[template(path = "connect/inbox.html")]
struct InboxStep {
    frame: Frame,
    carried: Carried,
    problem: String,
    inboxes: Vec<InboxView>,
    senders: Vec<ChannelAccount>,
    chosen_inbox: String,
    chosen_sender: String,
    inbox_name: String,
}

#[derive(Template)]
#[template(path = "connect/done.html")]
struct DoneStep {
    frame: Frame,
    works: bool,
    done: SetUp,
    to_chatwoot: State,
    from_chatwoot: State,
    warnings: Vec<String>,
}

struct InboxView {
    id: i64,
    name: String,
    leads_here: bool,
    has_webhook: bool,
}

/// What is carried from step to step.
struct Carried {
    url: String,
    sealed: String,
    tenant: String,
    installation: String,
    account: String,
}

impl AddressStep {
    fn error(&self, field: &str) -> String {
        self.refusal.field(self.frame.l, field)
    }
}

pub(super) fn routes(api: &mut Api) {
    api.get(
        "/panel/connect",
        page("The first step of connecting an inbox"),
        begin,
    )
    .post(
        "/panel/connect",
        shown("Look whether Chatwoot takes the token"),
        check,
    )
    .post(
        "/panel/connect/account",
        shown("Choose an account of Chatwoot's"),
        choose_account,
    )
    .post(
        "/panel/connect/inbox",
        shown("Connect the inbox, and test both ways"),
        connect,
    );
}

async fn begin(visit: Visit, query: Query, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let installation = query
        .get("installation")
        .unwrap_or_default()
        .chars()
        .take(64)
        .collect();
    Ok(address_step(
        StatusCode::OK,
        &visit,
        &admin,
        (String::new(), String::new(), installation),
        Refusal::default(),
    ))
}

fn address_step(
    status: StatusCode,
    visit: &Visit,
    admin: &Admin,
    (url, tenant, installation): (String, String, String),
    refusal: Refusal,
) -> HttpResponse {
    let problem = if status.is_success() {
        String::new()
    } else {
        refusal.line(visit.l())
    };
    console::page(
        status,
        &AddressStep {
            frame: visit.frame("connect"),
            refusal,
            problem,
            url,
            tenant,
            installation,
            routes_tenant: admin.routes_tenant.to_string(),
            knows_address: admin.tools.public_url.is_some(),
        },
    )
}

async fn check(visit: Visit, form: Fields, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    match checked(&visit, &form, &admin).await {
        Ok(answer) => Ok(answer),
        Err(error) => {
            let text = |name: &'static str| form.text(name).ok().flatten().unwrap_or_default().to_owned();
            let typed = (text("url"), text("tenantId"), text("installation"));
            let refusal = Refusal::of(&error);
            Ok(address_step(error.status_code(), &visit, &admin, typed, refusal))
        }
    }
}

async fn checked(visit: &Visit, form: &Fields, admin: &Admin) -> Result<HttpResponse, ApiError> {
    let names = ["url", "apiToken", "tenantId", "installation"];
    let mut body = Body::of(filled(form, &names));
    let token = body.secret_or_nothing("apiToken", 1).flatten();
    if token.is_none() {
        body.wrong("apiToken", "is needed");
    }
    let url = api::installations::base_url(&mut body, admin);
    let installation = body.installation("installation").unwrap_or_default();
    let tenant = body.tenant("tenantId").map(|tenant| tenant.to_string());
    body.finish()?;
    let (Some(token), Some(url)) = (token, url) else {
        return Err(ApiError::internal());
    };
    let at = InboxAddress {
        url: url.clone(),
        account_id: 0,
        inbox_id: 0,
        token: token.clone(),
    };
    let accounts = accounts_of(&admin.tools, &at).await;
    let accounts = accounts.map_err(|error| api::setup::not_set_up(&error))?;
    let carried = Carried {
        sealed: seal(
            admin,
            &Door {
                url: url.clone(),
                token,
            },
        )?,
        url,
        tenant: tenant.unwrap_or_else(|| admin.routes_tenant.to_string()),
        installation,
        account: String::new(),
    };
    let administered: Vec<&AccountFound> = accounts
        .iter()
        .filter(|account| account.role.as_deref() != Some("agent"))
        .collect();
    if let [only] = administered.as_slice() {
        let account = only.id.to_string();
        return inbox_step(
            StatusCode::OK,
            visit,
            admin,
            Carried { account, ..carried },
            None,
            form,
        )
        .await;
    }
    Ok(console::page(
        StatusCode::OK,
        &AccountStep {
            frame: visit.frame("connect"),
            carried,
            accounts: accounts.into_iter().take(OFFERED).collect(),
        },
    ))
}

/// The form of a step after the first, taken apart.
fn carried(form: &Fields, admin: &Admin) -> Result<(Carried, Door), ApiError> {
    let text = |name: &'static str| -> Result<String, ApiError> {
        Ok(form.text(name)?.unwrap_or_default().trim().to_owned())
    };
    let sealed = text("sealed")?;
    let door = open(admin, &sealed)?;
    let carried = Carried {
        url: door.url.clone(),
        sealed,
        tenant: text("tenantId")?,
        installation: text("installation")?,
        account: text("accountId")?,
    };
    Ok((carried, door))
}

async fn choose_account(visit: Visit, form: Fields, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let (carried, _) = carried(&form, &admin)?;
    inbox_step(StatusCode::OK, &visit, &admin, carried, None, &form).await
}

async fn inbox_step(
    status: StatusCode,
    visit: &Visit,
    admin: &Admin,
    carried: Carried,
    refusal: Option<&Refusal>,
    form: &Fields,
) -> Result<HttpResponse, ApiError> {
    let door = open(admin, &carried.sealed)?;
    let account = api::fields::digits(&carried.account).filter(|id| *id > 0);
    let account =
        account.ok_or_else(|| invalid([("accountId", "must be a whole number above 0".to_owned())]))?;
    let at = InboxAddress {
        url: door.url,
        account_id: account,
        inbox_id: 0,
        token: door.token,
    };
    let found = inboxes_of(&admin.tools, &at, &carried.installation).await;
    let found = found.map_err(|error| api::setup::not_set_up(&error))?;
    let scope = admin.scope(TenantId::parse(carried.tenant.as_str()).ok());
    let senders = match &admin.channel {
        Some(channel) => channel.accounts(scope.tenant()).await.unwrap_or_default(),
        None => Vec::new(),
    };
    let text = |name: &'static str| form.text(name).ok().flatten().unwrap_or_default().to_owned();
    Ok(console::page(
        status,
        &InboxStep {
            frame: visit.frame("connect"),
            problem: refusal
                .map(|refusal| refusal.lines(visit.l()).join(" "))
                .unwrap_or_default(),
            inboxes: found
                .into_iter()
                .take(OFFERED)
                .map(|(inbox, leads_here)| InboxView {
                    id: inbox.id,
                    has_webhook: inbox.webhook_url().is_some(),
                    name: inbox.name.unwrap_or_default(),
                    leads_here,
                })
                .collect(),
            senders,
            chosen_inbox: text("inboxId"),
            chosen_sender: text("whatsappAccountId"),
            inbox_name: Some(text("inboxName"))
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| api::setup::INBOX_NAME.to_owned()),
            carried,
        },
    ))
}

async fn connect(visit: Visit, form: Fields, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let (carried, door) = carried(&form, &admin)?;
    match connected(&visit, &form, &admin, &carried, &door).await {
        Ok(done) => Ok(console::page(StatusCode::OK, &done_step(&visit, done))),
        Err(error) => {
            let refusal = Refusal::of(&error);
            let status = error.status_code();
            inbox_step(status, &visit, &admin, carried, Some(&refusal), &form).await
        }
    }
}

async fn connected(
    visit: &Visit,
    form: &Fields,
    admin: &Admin,
    carried: &Carried,
    door: &Door,
) -> Result<SetUp, ApiError> {
    let names = ["whatsappAccountId", "inboxId", "inboxName", "conversationPolicy"];
    let mut fields: Map<String, Value> = filled(form, &names);
    for (name, value) in [
        ("tenantId", &carried.tenant),
        ("installation", &carried.installation),
        ("accountId", &carried.account),
        ("url", &door.url),
    ] {
        if !value.is_empty() {
            fields.insert(name.to_owned(), json!(value));
        }
    }
    fields.insert("apiToken".to_owned(), json!(door.token.expose_secret()));
    let (scope, wanted) = api::setup::read(Body::of(fields), admin).await?;
    let done = set_up(&admin.tools, &scope, &wanted, &visit.actor).await;
    done.map_err(|error| api::setup::not_set_up(&error))
}

fn done_step(visit: &Visit, done: SetUp) -> DoneStep {
    let l: Language = visit.l();
    DoneStep {
        frame: visit.frame("connect"),
        works: done.test.works(),
        to_chatwoot: leg(l, &done.test.to_chatwoot),
        from_chatwoot: leg(l, &done.test.from_chatwoot),
        warnings: done.warnings.iter().map(|one| warning(l, one)).collect(),
        done,
    }
}

fn seal(admin: &Admin, door: &Door) -> Result<String, ApiError> {
    let plain = json!({"url": door.url, "token": door.token.expose_secret(), "at": Utc::now().timestamp()});
    let plain = SecretString::from(plain.to_string());
    let sealed = admin.tools.keys.seal(&plain, PLACE);
    sealed.map_err(|_| ApiError::internal())
}

fn open(admin: &Admin, sealed: &str) -> Result<Door, ApiError> {
    let anew = || {
        ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "wizard_too_old",
            "This took too long: begin again with the token",
        )
    };
    let plain = admin.tools.keys.open(sealed, PLACE).map_err(|_| anew())?;
    let said: Value = serde_json::from_str(plain.expose_secret()).map_err(|_| anew())?;
    let text = |name: &str| said.get(name).and_then(Value::as_str).map(str::to_owned);
    let at = said.get("at").and_then(Value::as_i64).unwrap_or_default();
    let (Some(url), Some(token)) = (text("url"), text("token")) else {
        return Err(anew());
    };
    if Utc::now().timestamp() - at > LASTS_SECONDS {
        return Err(anew());
    }
    Ok(Door {
        url,
        token: SecretString::from(token),
    })
}
