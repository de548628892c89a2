//! The sealed columns of all tables, for `key reencrypt`.

use tenant_isolation::sealed_rows::{SealedColumn, SealedRow, SealedTable};
use uuid::Uuid;

use super::inboxes::Inbox;
use super::installations::Installation;
use super::routes::Route;

const BY_ID: &[(&str, &str)] = &[("id", "uuid")];

/// Every table with sealed columns, and what their secrets are bound to.
pub const TABLES: &[SealedTable] = &[
    SealedTable {
        name: "inboxes",
        key: BY_ID,
        bound: &[],
        columns: &[
            SealedColumn {
                name: "api_token_sealed",
                binding: |row| of_id(row, Inbox::token_place),
            },
            SealedColumn {
                name: "webhook_secrets_sealed",
                binding: |row| of_id(row, Inbox::secret_place),
            },
        ],
    },
    SealedTable {
        name: "installations",
        key: &[("installation", "text"), ("chatwoot_account_id", "bigint")],
        bound: &[],
        columns: &[SealedColumn {
            name: "api_token_sealed",
            binding: |row| {
                let account = row.text("chatwoot_account_id")?.parse().ok()?;
                let (tenant, installation) = (row.scope().tenant(), row.text("installation")?);
                Some(Installation::token_place(tenant.as_str(), installation, account))
            },
        }],
    },
    SealedTable {
        name: "routes",
        key: BY_ID,
        bound: &[],
        columns: &[
            SealedColumn {
                name: "url_sealed",
                binding: |row| of_id(row, Route::url_place),
            },
            SealedColumn {
                name: "signing_secret_sealed",
                binding: |row| of_id(row, Route::signing_place),
            },
            SealedColumn {
                name: "inbox_secrets_sealed",
                binding: |row| of_id(row, Route::inbox_secret_place),
            },
            SealedColumn {
                name: "account_secrets_sealed",
                binding: |row| of_id(row, Route::account_secret_place),
            },
        ],
    },
];

fn of_id(row: &SealedRow, place: fn(&str, Uuid) -> String) -> Option<String> {
    Some(place(row.scope().tenant().as_str(), row.uuid("id")?))
}
