//! Chores about events that could not be passed on to the URLs of routes.

use clap::{Args, Subcommand};
use database::Database;
use domain::ids::TenantId;
use serde_json::{Value, json};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope};
use uuid::Uuid;

use crate::flows::forward::parked;
use crate::store::routes;

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub enum ForwardCommand {
    /// List a tenant's events that were put aside, oldest first, and how many fared how; nothing of their contents
    Parked(Parked),
    /// Show what is known of an event that is not delivered yet; nothing of its contents
    Show(Show),
    /// Take an event that was put aside up again, in its old place
    Replay(Show),
    /// Take up again all that were put aside but those that the target may have: these one by one, by whoever looked
    ReplayAll(ReplayAll),
}

/// Which ones are listed.
#[derive(Debug, Args)]
pub struct Parked {
    /// The tenant
    #[arg(long)]
    tenant: TenantId,
    /// Only of the route with this number
    #[arg(long)]
    route: Option<i64>,
    /// Most events to list
    #[arg(long, default_value_t = 100)]
    limit: u16,
}

/// Which one.
#[derive(Debug, Args)]
pub struct Show {
    /// The tenant
    #[arg(long)]
    tenant: TenantId,
    /// The event's id
    #[arg(long)]
    event: Uuid,
}

/// Which ones are taken up.
#[derive(Debug, Args)]
pub struct ReplayAll {
    /// The tenant
    #[arg(long)]
    tenant: TenantId,
    /// Only of the route with this number
    #[arg(long)]
    route: Option<i64>,
}

/// Does it, and says what came of it.
///
/// # Errors
/// What the database says, or that there is no such event or route.
pub async fn run(db: &Database, command: ForwardCommand) -> anyhow::Result<Value> {
    Ok(match command {
        ForwardCommand::Parked(Parked { tenant, route, limit }) => {
            let route = route_id(db, &tenant, route).await?;
            let scope = TenantScope::named_by_operator(tenant);
            let (parked, routes) = parked::parked(db, &scope, route, limit.into()).await?;
            json!({"tenant_id": scope.tenant(), "parked": parked, "routes": routes})
        }
        ForwardCommand::Show(Show { tenant, event }) => {
            let scope = TenantScope::named_by_operator(tenant);
            let Some(found) = parked::show(db, &scope, event).await? else {
                anyhow::bail!("tenant {} has no such event", scope.tenant());
            };
            json!({"tenant_id": scope.tenant(), "event": found})
        }
        ForwardCommand::Replay(Show { tenant, event }) => {
            let scope = TenantScope::named_by_operator(tenant);
            let found = parked::replay(db, &scope, event).await?;
            anyhow::ensure!(found, "tenant {} has no such event put aside", scope.tenant());
            json!({"tenant_id": scope.tenant(), "replayed": 1})
        }
        ForwardCommand::ReplayAll(ReplayAll { tenant, route }) => {
            let route = route_id(db, &tenant, route).await?;
            let scope = TenantScope::named_by_operator(tenant);
            let replayed = parked::replay_all(db, &scope, route).await?;
            json!({"tenant_id": scope.tenant(), "replayed": replayed})
        }
    })
}

async fn route_id(db: &Database, tenant: &TenantId, number: Option<i64>) -> anyhow::Result<Option<Uuid>> {
    let Some(number) = number else {
        return Ok(None);
    };
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("find route by number")).await?;
    let found = routes::by_number(&mut tx, number).await?;
    tx.commit().await?;
    match found.filter(|owned| owned.tenant == *tenant) {
        Some(owned) => Ok(Some(owned.route.id)),
        None => anyhow::bail!("tenant {tenant} has no route {number}"),
    }
}
