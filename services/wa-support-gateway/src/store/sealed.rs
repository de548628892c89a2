//! The sealed columns of all tables, for `key reencrypt`.

use tenant_isolation::sealed_rows::{SealedColumn, SealedTable};

use crate::secrets;

/// Every table with sealed columns, and what their secrets are bound to.
pub const TABLES: &[SealedTable] = &[SealedTable {
    name: "sessions",
    key: &[("id", "uuid")],
    bound: &[],
    columns: &[
        SealedColumn {
            name: "token_sealed",
            binding: |row| Some(secrets::token_binding(row.scope(), row.uuid("id")?)),
        },
        SealedColumn {
            name: "hmac_key_sealed",
            binding: |row| Some(secrets::hmac_key_binding(row.scope(), row.uuid("id")?)),
        },
        SealedColumn {
            name: "customer_hmac_key_sealed",
            binding: |row| Some(secrets::customer_hmac_key_binding(row.scope(), row.uuid("id")?)),
        },
    ],
}];
