//! The sealed columns of all tables, for `key reencrypt`.

use domain::endpoint::EndpointName;
use domain::ids::AccountId;
use tenant_isolation::sealed_rows::{SealedColumn, SealedRow, SealedTable};

use super::{account, gate_subscriptions, session_intent, session_to_unlink, support_customer};

const BY_ID: &[(&str, &str)] = &[("id", "uuid")];

/// Every table with sealed columns, and what their secrets are bound to.
pub const TABLES: &[SealedTable] = &[
    SealedTable {
        name: "accounts",
        key: BY_ID,
        bound: &[],
        columns: &[
            SealedColumn {
                name: "token_sealed",
                binding: |row| {
                    Some(account::token_binding(
                        row.scope().tenant(),
                        account_in(row, "id")?,
                    ))
                },
            },
            SealedColumn {
                name: "webhook_keys_sealed",
                binding: |row| {
                    Some(account::webhook_key_binding(
                        row.scope().tenant(),
                        account_in(row, "id")?,
                    ))
                },
            },
        ],
    },
    SealedTable {
        name: "session_intents",
        key: &[],
        bound: &["account_id"],
        columns: &[SealedColumn {
            name: "token_sealed",
            binding: |row| {
                let account = account_in(row, "account_id")?;
                Some(session_intent::token_binding(row.scope().tenant(), account))
            },
        }],
    },
    SealedTable {
        name: "sessions_to_unlink",
        key: BY_ID,
        bound: &["endpoint"],
        columns: &[SealedColumn {
            name: "token_sealed",
            binding: |row| {
                let (endpoint, id) = (row.text("endpoint")?, row.uuid("id")?);
                Some(session_to_unlink::token_binding(
                    row.scope().tenant(),
                    endpoint,
                    id,
                ))
            },
        }],
    },
    SealedTable {
        name: "support_customers",
        key: &[("endpoint", "text")],
        bound: &["names_endpoint"],
        columns: &[SealedColumn {
            name: "key_sealed",
            binding: |row| {
                let (tenant, endpoint) = (row.scope().tenant(), row.text("endpoint")?);
                if row.text("names_endpoint")? == "false" {
                    return Some(support_customer::key_binding_without_endpoint(tenant));
                }
                let endpoint = EndpointName::parse(endpoint).ok()?;
                Some(support_customer::key_binding(tenant, &endpoint))
            },
        }],
    },
    SealedTable {
        name: "gate_subscriptions",
        key: BY_ID,
        bound: &[],
        columns: &[
            SealedColumn {
                name: "app_secret_sealed",
                binding: |row| Some(gate_subscriptions::secret_binding(row.scope(), row.uuid("id")?)),
            },
            SealedColumn {
                name: "verify_token_sealed",
                binding: |row| Some(gate_subscriptions::token_binding(row.scope(), row.uuid("id")?)),
            },
        ],
    },
];

fn account_in(row: &SealedRow, column: &str) -> Option<AccountId> {
    row.uuid(column).map(AccountId::from_uuid)
}
