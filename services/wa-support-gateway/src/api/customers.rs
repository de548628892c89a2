//! `/internal/users`: customers, by the services they belong to (contract §6). On the wire a customer is a user.

use std::time::Duration;

use ::web::openapi::{Api, Doc, Schema, fields, list, nullable, object, text, text_up_to, time, whole};
use ::web::{ApiError, Fields, Query};
use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use chrono::{DateTime, SecondsFormat, Utc};
use domain::ids::TenantId;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tenant_isolation::TenantScope;

use super::body::{JsonFields, OptionalJsonFields};
use super::caller::Caller;
use crate::error::Error;
use crate::flows::customers::{Actor, Change, Listing, Wanted};
use crate::state::Gateway;
use crate::store::PROVIDER;
use crate::store::customer_list::ListedRow;
use crate::store::terms::{SomeTerms, Terms};

/// The columns of the original (contract §6.3).
const LONGEST_ID: usize = 64;
const LONGEST_SOURCE: usize = 64;
const LONGEST_PROVIDER: usize = 32;
const LONGEST_CREATOR: usize = 128;

/// Longest time for which a replaced key may stay good.
const LONGEST_GRACE_SECONDS: i64 = 86_400;

const DEFAULT_LIMIT: i64 = 20;
const MOST_LIMIT: i64 = 100;
/// Beyond it there is no page.
const LAST_PAGE: i64 = 1_000_000_000;

const UNREADABLE_KEY: &str = "api key tidak dapat dibaca kembali karena disimpan dalam bentuk hash";
const SHOWN_ONCE: &str = "api_key hanya tampil saat user baru dibuat";

/// What a missing time looks like in the original.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

pub(crate) fn routes(api: &mut Api) {
    let refusals: &[(u16, &str)] = &[
        (400, "The body is not what the route takes"),
        (
            403,
            "The user belongs to another source, or the source is not the key's",
        ),
        (404, "No such user; with a key of one source 403"),
    ];
    let terms = || {
        fields([
            ("user_id", text_up_to(LONGEST_ID)),
            ("source", text_up_to(LONGEST_SOURCE)),
            ("expires_at", time()),
            ("max_sessions", whole()),
            ("max_messages", whole()),
            ("provider", text_up_to(LONGEST_PROVIDER)),
            ("created_by", text_up_to(LONGEST_CREATOR)),
        ])
    };
    let meta = object([
        ("page", whole()),
        ("limit", whole()),
        ("total", whole()),
        ("provider", text()),
        ("source", text()),
    ]);
    let all = Doc::new("Users, newest first")
        .query(
            "source",
            text(),
            "only those of this source; a key of one source sees no others anyway",
        )
        .query("provider", text(), "whose subscription is shown [genfity-wa]")
        .query("page", whole(), "which page [1]")
        .query("limit", whole(), "users a page [20, at most 100]")
        .answers(
            200,
            "A page",
            object([("items", list(item_schema())), ("meta", meta)]),
        );
    let put = Doc::new(
        "Make a user with its subscription, or bring both to this; an end later than before begins a new period",
    )
    .takes(terms())
    .answers(
        200,
        "Done; `api_key` is the key of a new user and empty otherwise",
        object([("user_id", text()), ("api_key", text()), ("note", text())]),
    )
    .refuses(refusals);
    let one = Doc::new("One user")
        .query("provider", text(), "whose subscription is shown [genfity-wa]")
        .answers(200, "The user", item_schema())
        .refuses(refusals);
    let change = Doc::new(
        "Change a user and its subscription. With `source` and `expires_at` it is read as a whole, without one of them \
         what is left out stays as it is",
    )
    .takes(terms())
    .answers(200, "Changed", object([("message", text())]))
    .refuses(refusals);
    let replaced = object([("prefix", text()), ("valid_until", time())]);
    let about_key = Doc::new("What is known of a user's key; never the key")
        .answers(
            200,
            "The key in use, and those that end soon",
            object([
                ("user_id", text()),
                ("note", text()),
                ("prefix", nullable(text())),
                ("created_at", nullable(time())),
                ("replaced", list(replaced)),
            ]),
        )
        .refuses(refusals);
    let rotate = Doc::new("Give a user a new key; the old one is good for `grace_seconds` more [0]")
        .takes(fields([("grace_seconds", whole())]))
        .answers(
            200,
            "The new key, shown this once",
            object([("user_id", text()), ("api_key", text())]),
        )
        .refuses(refusals);
    api.get("/users", all, list_all)
        .post("/users", put, upsert)
        .get("/users/{user_id}", one, show)
        .put("/users/{user_id}", change, update)
        .get("/users/{user_id}/apikey", about_key, key)
        .post("/users/{user_id}/apikey/rotate", rotate, rotate_key);
}

fn item_schema() -> Schema {
    let subscription = object([
        ("provider", text()),
        ("status", text()),
        ("expires_at", time()),
        ("max_sessions", whole()),
        ("max_messages", whole()),
    ]);
    object([
        ("id", text()),
        ("user_id", text()),
        ("source_service", text()),
        ("status", text()),
        ("created_by", text()),
        ("created_at", time()),
        ("updated_at", time()),
        ("subscription", subscription),
        ("session_count", whole()),
    ])
}

async fn list_all(caller: Caller, query: Query, gateway: Data<Gateway>) -> Result<HttpResponse, ApiError> {
    let asked = asked_text(&query, "source", LONGEST_SOURCE)?;
    // A service sees its own customers, whatever it asks for.
    let source = caller.service.source().map(str::to_owned).or(asked);
    let provider = asked_provider(&query)?;
    let page = positive(&query, "page").unwrap_or(1).min(LAST_PAGE);
    let limit = positive(&query, "limit").unwrap_or(DEFAULT_LIMIT).min(MOST_LIMIT);
    let listing = Listing {
        source: source.clone(),
        provider: provider.clone(),
        limit,
        offset: (page - 1) * limit,
    };
    let customers = gateway.customers.clone();
    let (rows, total) = gateway
        .on_process(async move { customers.list(&listing).await })
        .await?;
    let items: Vec<Value> = rows.iter().map(item).collect();
    let meta = json!({
        "page": page, "limit": limit, "total": total, "provider": provider,
        "source": source.unwrap_or_default(),
    });
    Ok(HttpResponse::Ok().json(json!({"items": items, "meta": meta})))
}

async fn show(
    caller: Caller,
    id: Path<String>,
    query: Query,
    gateway: Data<Gateway>,
) -> Result<HttpResponse, ApiError> {
    let (by, scope) = named(caller, &id)?;
    let provider = asked_provider(&query)?;
    let customers = gateway.customers.clone();
    let row = gateway
        .on_process(async move { customers.show(&by, &scope, &provider).await })
        .await?;
    Ok(HttpResponse::Ok().json(item(&row)))
}

async fn upsert(caller: Caller, body: JsonFields, gateway: Data<Gateway>) -> Result<HttpResponse, ApiError> {
    let given = Given::read(&body.0)?;
    let user_id = filled(&body.0, "user_id", LONGEST_ID)?.ok_or_else(|| missing("user_id"))?;
    let created_by = filled(&body.0, "created_by", LONGEST_CREATOR)?.unwrap_or_default();
    let source = given.source.clone().ok_or_else(|| missing("source"))?;
    let expires_at = given.expires_at.ok_or_else(|| missing("expires_at"))?;
    let tenant = TenantId::parse(user_id).map_err(|error| invalid("user_id", &error.to_string()))?;
    let wanted = Wanted {
        scope: caller.service.scope(tenant),
        source,
        created_by,
        provider: given.provider(),
        terms: Terms {
            expires_at,
            max_sessions: given.max_sessions.unwrap_or(1),
            max_messages: given.max_messages.unwrap_or(0),
        },
    };
    ::web::note_tenant(&wanted.scope);
    let user_id = wanted.scope.tenant().to_string();
    let by = actor(caller);
    let customers = gateway.customers.clone();
    let key = gateway
        .to_the_end(async move { customers.upsert(&by, &wanted).await })
        .await?;
    Ok(HttpResponse::Ok().json(json!({
        "user_id": user_id, "api_key": key.as_ref().map_or("", SecretString::expose_secret), "note": SHOWN_ONCE,
    })))
}

async fn update(
    caller: Caller,
    id: Path<String>,
    body: JsonFields,
    gateway: Data<Gateway>,
) -> Result<HttpResponse, ApiError> {
    let given = Given::read(&body.0)?;
    // A whole body is read as the original reads it: limits that are left out are set back. The original refuses
    // anything less; here it leaves alone what it does not name.
    let whole = given.source.is_some() && given.expires_at.is_some();
    let terms = SomeTerms {
        expires_at: given.expires_at,
        max_sessions: given.max_sessions.or(whole.then_some(1)),
        max_messages: given.max_messages.or(whole.then_some(0)),
    };
    if let Some(source) = &given.source
        && !caller.service.may_work_for(source)
    {
        // Said first, as in the original: the body alone shows it.
        return Err(Error::NotItsSource.into());
    }
    let (by, scope) = named(caller, &id)?;
    let change = Change {
        scope,
        provider: given.provider(),
        source: given.source,
        terms,
    };
    let customers = gateway.customers.clone();
    gateway
        .to_the_end(async move { customers.change(&by, &change).await })
        .await?;
    Ok(HttpResponse::Ok().json(json!({"message": "updated"})))
}

async fn key(caller: Caller, id: Path<String>, gateway: Data<Gateway>) -> Result<HttpResponse, ApiError> {
    let (by, scope) = named(caller, &id)?;
    let user_id = scope.tenant().to_string();
    let customers = gateway.customers.clone();
    let keys = gateway
        .on_process(async move { customers.keys(&by, &scope).await })
        .await?;
    let in_use = keys.iter().find(|key| key.valid_until.is_none());
    let replaced: Vec<Value> = keys
        .iter()
        .filter_map(|key| Some(json!({"prefix": key.prefix, "valid_until": wire(key.valid_until?)})))
        .collect();
    Ok(HttpResponse::Ok().json(json!({
        "user_id": user_id, "note": UNREADABLE_KEY,
        "prefix": in_use.map(|key| &key.prefix), "created_at": in_use.map(|key| wire(key.created_at)),
        "replaced": replaced,
    })))
}

async fn rotate_key(
    caller: Caller,
    id: Path<String>,
    body: OptionalJsonFields,
    gateway: Data<Gateway>,
) -> Result<HttpResponse, ApiError> {
    let grace = body.0.whole("grace_seconds")?.unwrap_or(0);
    let grace = u64::try_from(grace)
        .ok()
        .filter(|_| grace <= LONGEST_GRACE_SECONDS)
        .ok_or_else(|| invalid("grace_seconds", "must be between 0 and 86400"))?;
    let (by, scope) = named(caller, &id)?;
    let user_id = scope.tenant().to_string();
    let customers = gateway.customers.clone();
    let key = gateway
        .to_the_end(async move {
            customers
                .rotate_key(&by, &scope, Duration::from_secs(grace))
                .await
        })
        .await?;
    Ok(HttpResponse::Ok().json(json!({"user_id": user_id, "api_key": key.expose_secret()})))
}

fn actor(caller: Caller) -> Actor {
    Actor::Service(caller.service, caller.address)
}

/// The customer that the path names. What can be nobody's id is as unknown as any.
pub(super) fn named(caller: Caller, id: &str) -> Result<(Actor, TenantScope), Error> {
    let tenant = TenantId::parse(id);
    let scope = tenant.map(|tenant| caller.service.scope(tenant));
    let by = actor(caller);
    let scope = scope.map_err(|_| by.no_such_customer())?;
    ::web::note_tenant(&scope);
    Ok((by, scope))
}

/// What a body may say of a customer.
struct Given {
    source: Option<String>,
    provider: Option<String>,
    expires_at: Option<DateTime<Utc>>,
    max_sessions: Option<i32>,
    max_messages: Option<i64>,
}

impl Given {
    fn read(body: &Fields) -> Result<Self, ApiError> {
        let max_sessions = body.whole("max_sessions")?.map(|most| most.max(1));
        let max_sessions = max_sessions.map(i32::try_from).transpose();
        Ok(Self {
            source: filled(body, "source", LONGEST_SOURCE)?,
            provider: filled(body, "provider", LONGEST_PROVIDER)?,
            expires_at: moment(body, "expires_at")?,
            max_sessions: max_sessions.map_err(|_| invalid("max_sessions", "is too large"))?,
            max_messages: body.whole("max_messages")?.map(|most| most.max(0)),
        })
    }

    fn provider(&self) -> String {
        self.provider.clone().unwrap_or_else(|| PROVIDER.to_owned())
    }
}

/// A text that is stored and shown: of a bounded length, without control characters. Empty counts as not given.
fn filled(body: &Fields, name: &'static str, longest: usize) -> Result<Option<String>, ApiError> {
    let text = body.text(name)?.filter(|text| !text.is_empty());
    text.map(|text| plain(name, text, longest)).transpose()
}

fn plain(name: &'static str, text: &str, longest: usize) -> Result<String, ApiError> {
    if text.chars().count() > longest {
        return Err(invalid(name, &format!("is longer than {longest} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid(name, "holds control characters"));
    }
    Ok(text.to_owned())
}

/// A time with its offset. The zero time counts as not given, as in the original.
fn moment(body: &Fields, name: &'static str) -> Result<Option<DateTime<Utc>>, ApiError> {
    let Some(text) = body.text(name)? else {
        return Ok(None);
    };
    let at = DateTime::parse_from_rfc3339(text)
        .map_err(|_| {
            invalid(
                name,
                "must be a time with an offset, such as 2099-12-31T23:59:59Z",
            )
        })?
        .to_utc();
    Ok((wire(at) != NO_TIME).then_some(at))
}

fn asked_text(query: &Query, name: &'static str, longest: usize) -> Result<Option<String>, ApiError> {
    let text = query.get(name).map(str::trim).filter(|text| !text.is_empty());
    text.map(|text| plain(name, text, longest)).transpose()
}

fn asked_provider(query: &Query) -> Result<String, ApiError> {
    Ok(asked_text(query, "provider", LONGEST_PROVIDER)?.unwrap_or_else(|| PROVIDER.to_owned()))
}

/// A number of the query; what is none, or not above zero, counts as not given.
fn positive(query: &Query, name: &str) -> Option<i64> {
    query.get(name)?.trim().parse().ok().filter(|number| *number > 0)
}

fn missing(name: &'static str) -> ApiError {
    ApiError::bad_request("missing_field", format!("{name} is required")).with("field", name)
}

fn invalid(name: &'static str, rule: &str) -> ApiError {
    ApiError::bad_request("invalid_field", format!("{name} {rule}")).with("field", name)
}

/// A time as it is shown: RFC 3339 in UTC, with a fraction where there is one.
pub(crate) fn wire(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// A customer as the list shows it. Without a subscription, all of it is zero (contract §6.2).
pub(crate) fn item(row: &ListedRow) -> Value {
    json!({
        "id": row.tenant_id, "user_id": row.tenant_id, "source_service": row.source_service,
        "status": row.status, "created_by": row.created_by,
        "created_at": wire(row.created_at), "updated_at": wire(row.updated_at),
        "subscription": {
            "provider": row.provider.as_deref().unwrap_or_default(),
            "status": row.subscription_status.as_deref().unwrap_or_default(),
            "expires_at": row.expires_at.map_or_else(|| NO_TIME.to_owned(), wire),
            "max_sessions": row.max_sessions.unwrap_or(0),
            "max_messages": row.max_messages.unwrap_or(0),
        },
        "session_count": row.session_count,
    })
}
