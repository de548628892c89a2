//! Rows with sealed secrets, one after the other over all tenants, so that a key can be changed.
//!
//! A service says which of its columns are sealed and what each secret is bound to; the statements are made of that.

use std::collections::BTreeMap;

use database::{DatabaseError, sql};
use diesel::sql_types::{Array, BigInt, Text};
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use domain::ids::TenantId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{PlatformTransaction, TenantScope, TenantTransaction};

/// A table with sealed columns, whose primary key begins with `tenant_id`.
#[derive(Debug)]
pub struct SealedTable {
    /// Its name.
    pub name: &'static str,
    /// The other columns of its primary key, with their types.
    pub key: &'static [(&'static str, &'static str)],
    /// Columns outside the key that a binding is made of.
    pub bound: &'static [&'static str],
    /// Its sealed columns.
    pub columns: &'static [SealedColumn],
}

/// A column that holds a sealed secret, or an array of them.
#[derive(Debug)]
pub struct SealedColumn {
    /// Its name.
    pub name: &'static str,
    /// What the secrets of a row are sealed for. `None`: the row has not what that takes.
    pub binding: fn(&SealedRow) -> Option<String>,
}

/// Which row a secret is in.
#[derive(Debug)]
pub struct SealedRow {
    scope: TenantScope,
    named: BTreeMap<String, String>,
}

impl SealedRow {
    /// Whose it is.
    #[must_use]
    pub const fn scope(&self) -> &TenantScope {
        &self.scope
    }

    /// What a column of the key, or one that was [asked for](SealedTable::bound), holds.
    #[must_use]
    pub fn text(&self, column: &str) -> Option<&str> {
        self.named.get(column).map(String::as_str)
    }

    /// The same, where it is an id.
    #[must_use]
    pub fn uuid(&self, column: &str) -> Option<Uuid> {
        self.text(column)?.parse().ok()
    }
}

/// What the sealed columns of a row hold.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secrets(BTreeMap<String, Option<Held>>);

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Held {
    One(String),
    Several(Vec<String>),
}

impl Secrets {
    /// The secrets of one column, sealed.
    pub fn of(&mut self, column: &str) -> &mut [String] {
        match self.0.get_mut(column).and_then(Option::as_mut) {
            None => &mut [],
            Some(Held::One(one)) => std::slice::from_mut(one),
            Some(Held::Several(several)) => several,
        }
    }
}

#[derive(diesel::QueryableByName)]
struct Listed {
    #[diesel(sql_type = Text)]
    tenant_id: String,
    #[diesel(sql_type = Text)]
    named: String,
    #[diesel(sql_type = Text)]
    secrets: String,
}

#[derive(diesel::QueryableByName)]
struct Locked {
    #[diesel(sql_type = Text)]
    secrets: String,
}

/// The pieces of which statements about one table are made.
struct Pieces {
    /// `tenant_id, id`
    key: String,
    /// The values of a row's key.
    place: String,
    /// The sealed columns.
    columns: String,
    /// The same as one value.
    secrets: String,
}

impl SealedTable {
    /// Its rows behind a place in their order.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn page(
        &self,
        tx: &mut PlatformTransaction,
        after: Option<&SealedRow>,
        limit: i64,
    ) -> Result<Vec<(SealedRow, Secrets)>, DatabaseError> {
        let Pieces {
            key, place, secrets, ..
        } = self.pieces();
        let named: Vec<String> = self
            .key
            .iter()
            .map(|(name, _)| *name)
            .chain(self.bound.iter().copied())
            .map(|name| format!("'{name}', {name}::text"))
            .collect();
        let statement = format!(
            "SELECT tenant_id, jsonb_build_object({})::text AS named, {secrets} FROM {} \
             WHERE $1 = '' OR ({key}) > ({place}) ORDER BY {key} LIMIT $3",
            named.join(", "),
            self.name,
        );
        let (tenant, rest) = after.map_or_else(Default::default, |row| self.place(row));
        let rows: Vec<Listed> = sql(statement)
            .bind::<Text, _>(tenant)
            .bind::<Array<Text>, _>(rest)
            .bind::<BigInt, _>(limit)
            .load(tx.connection())
            .await?;
        let platform = tx.scope();
        let of_row = |row: Listed| -> Result<(SealedRow, Secrets), DatabaseError> {
            let tenant = TenantId::parse(row.tenant_id).map_err(refused)?;
            let scope = TenantScope::of_swept_row(platform, tenant);
            let named = read(&row.named)?;
            Ok((SealedRow { scope, named }, read(&row.secrets)?))
        };
        rows.into_iter().map(of_row).collect()
    }

    /// What the row holds by now; nobody changes it before the transaction ends. `None`: it is gone.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn lock(
        &self,
        tx: &mut TenantTransaction,
        row: &SealedRow,
    ) -> Result<Option<Secrets>, DatabaseError> {
        let Pieces {
            key, place, secrets, ..
        } = self.pieces();
        // Not against those who only refer to the row.
        let statement = format!(
            "SELECT {secrets} FROM {} WHERE ({key}) = ({place}) FOR NO KEY UPDATE",
            self.name
        );
        let (tenant, rest) = self.place(row);
        let mut rows: Vec<Locked> = sql(statement)
            .bind::<Text, _>(tenant)
            .bind::<Array<Text>, _>(rest)
            .load(tx.connection())
            .await?;
        rows.pop().map(|row| read(&row.secrets)).transpose()
    }

    /// Puts the same secrets into the locked row, in other seals.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn put(
        &self,
        tx: &mut TenantTransaction,
        row: &SealedRow,
        secrets: &Secrets,
    ) -> Result<(), DatabaseError> {
        // For triggers that else take another seal for another secret.
        tx.connection()
            .batch_execute("SET LOCAL kanal.resealing = 'on'")
            .await?;
        let Pieces {
            key, place, columns, ..
        } = self.pieces();
        let statement = format!(
            "UPDATE {0} SET ({columns}) = (SELECT {columns} FROM jsonb_populate_record(NULL::{0}, $3::jsonb)) \
             WHERE ({key}) = ({place})",
            self.name
        );
        let (tenant, rest) = self.place(row);
        sql(statement)
            .bind::<Text, _>(tenant)
            .bind::<Array<Text>, _>(rest)
            .bind::<Text, _>(serde_json::to_string(secrets).map_err(refused)?)
            .execute(tx.connection())
            .await?;
        Ok(())
    }

    fn pieces(&self) -> Pieces {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        let pairs: Vec<String> = names.iter().map(|name| format!("'{name}', {name}")).collect();
        let (mut key, mut place) = (vec!["tenant_id"], vec!["$1".to_owned()]);
        for (at, (name, kind)) in (1..).zip(self.key) {
            key.push(name);
            place.push(format!("($2)[{at}]::{kind}"));
        }
        Pieces {
            key: key.join(", "),
            place: place.join(", "),
            columns: names.join(", "),
            secrets: format!("jsonb_build_object({})::text AS secrets", pairs.join(", ")),
        }
    }

    /// A row's place in their order: its tenant, and the rest of its key.
    fn place(&self, row: &SealedRow) -> (String, Vec<String>) {
        let rest = self.key.iter().filter_map(|(name, _)| row.text(name));
        (row.scope.tenant().to_string(), rest.map(str::to_owned).collect())
    }
}

fn read<T: DeserializeOwned>(json: &str) -> Result<T, DatabaseError> {
    serde_json::from_str(json).map_err(refused)
}

fn refused(error: impl std::error::Error + Send + Sync + 'static) -> DatabaseError {
    DatabaseError::Refused(Box::new(error))
}
