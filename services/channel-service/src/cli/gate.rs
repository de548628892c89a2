//! Commands about the gate in the shape of Meta's Cloud API.

use clap::Subcommand;
use domain::ids::TenantId;
use secrecy::ExposeSecret as _;
use tenant_isolation::TenantScope;
use uuid::Uuid;

use super::database;
use crate::config::ChoreSettings;
use crate::flows::gate::{deliver, token};
use crate::flows::tenant::Actor;

/// Commands about the gate in the shape of Meta's Cloud API.
#[derive(Debug, Subcommand)]
pub enum GateCommand {
    /// Make a token for all of a tenant's numbers. It is printed this once.
    Token {
        /// The tenant's id.
        #[arg(long)]
        tenant: TenantId,
        /// What it is for.
        #[arg(long)]
        name: String,
    },
    /// List a tenant's tokens, without the tokens themselves.
    Tokens {
        /// The tenant's id.
        #[arg(long)]
        tenant: TenantId,
    },
    /// Take a token back.
    Revoke {
        /// The tenant's id.
        #[arg(long)]
        tenant: TenantId,
        /// The token's id.
        #[arg(long)]
        token: Uuid,
    },
    /// List webhooks that were put aside after their last attempt, without what is in them.
    Parked {
        /// The tenant's id.
        #[arg(long)]
        tenant: TenantId,
        /// Most webhooks to list.
        #[arg(long, default_value_t = 100)]
        limit: u16,
    },
    /// Try a webhook again that was put aside, in its old place in its chat.
    Replay {
        /// The tenant's id.
        #[arg(long)]
        tenant: TenantId,
        /// The webhook's id.
        #[arg(long)]
        delivery: Uuid,
    },
}

/// Runs a command about the gate. Returns what to print.
///
/// # Errors
/// When the settings are wrong, or there is nothing of the id.
pub async fn gate(settings: ChoreSettings, command: GateCommand) -> anyhow::Result<serde_json::Value> {
    let db = database(&settings)?;
    let actor = Actor::operator();
    match command {
        GateCommand::Token { tenant, name } => {
            let fits = (1..=token::LONGEST_NAME).contains(&name.chars().count());
            anyhow::ensure!(fits, "the name must have 1 to {} characters", token::LONGEST_NAME);
            let scope = TenantScope::named_by_operator(tenant);
            let made = token::create(&db, &scope, &name, &actor).await?;
            Ok(serde_json::json!({"id": made.id, "name": name, "token": made.token.expose_secret()}))
        }
        GateCommand::Tokens { tenant } => {
            let rows = token::list(&db, &TenantScope::named_by_operator(tenant)).await?;
            let tokens: Vec<serde_json::Value> = rows
                .iter()
                .map(|row| {
                    serde_json::json!({"id": row.id, "name": row.name, "created_at": row.created_at,
                        "created_by": row.created_by})
                })
                .collect();
            Ok(serde_json::json!({ "tokens": tokens }))
        }
        GateCommand::Revoke { tenant, token: id } => {
            let scope = TenantScope::named_by_operator(tenant);
            let found = token::revoke(&db, &scope, id, &actor).await?;
            anyhow::ensure!(found, "tenant {} has no such token", scope.tenant());
            Ok(serde_json::json!({"id": id, "revoked": true}))
        }
        GateCommand::Parked { tenant, limit } => {
            let scope = TenantScope::named_by_operator(tenant);
            let parked = deliver::parked(&db, &scope, limit.into()).await?;
            Ok(serde_json::json!({"tenant_id": scope.tenant(), "parked": parked}))
        }
        GateCommand::Replay { tenant, delivery } => {
            let scope = TenantScope::named_by_operator(tenant);
            let found = deliver::replay(&db, &scope, delivery, &actor).await?;
            anyhow::ensure!(found, "tenant {} has no such webhook put aside", scope.tenant());
            Ok(serde_json::json!({"id": delivery, "replayed": true}))
        }
    }
}
