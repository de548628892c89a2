//! `users`: people who use the dashboard.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::user::{EmailAddress, Role};
use tenant_isolation::PlatformTransaction;
use uuid::Uuid;

/// A row of `users`. `Debug` is not for logs: it shows the hash.
#[derive(Clone, diesel::QueryableByName)]
pub struct UserRow {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// What they sign in with.
    #[diesel(sql_type = Text)]
    pub email: String,
    /// What they are called.
    #[diesel(sql_type = Nullable<Text>)]
    pub name: Option<String>,
    /// A [`Role`].
    #[diesel(sql_type = Text)]
    pub role: String,
    /// The one tenant of a tenant admin.
    #[diesel(sql_type = Nullable<Text>)]
    pub works_for: Option<String>,
    /// argon2id, with its parameters and salt.
    #[diesel(sql_type = Text)]
    pub password_hash: String,
    /// May not sign in.
    #[diesel(sql_type = Bool)]
    pub disabled: bool,
    /// Since when.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
}

const COLUMNS: &str = "id, email, name, role, works_for, password_hash, disabled, created_at";

/// Somebody new.
#[derive(Debug)]
pub struct NewUser<'a> {
    /// What they sign in with.
    pub email: &'a EmailAddress,
    /// What they are called.
    pub name: Option<&'a str>,
    /// What they may do.
    pub role: Role,
    /// For whom, when they are a tenant admin.
    pub works_for: Option<&'a str>,
    /// Of their password.
    pub password_hash: &'a str,
}

/// Adds somebody.
///
/// # Errors
/// [`DatabaseError::Conflict`] when the address is taken.
pub async fn insert(tx: &mut PlatformTransaction, new: &NewUser<'_>) -> Result<Uuid, DatabaseError> {
    let id = Uuid::now_v7();
    database::sql(
        "INSERT INTO users (id, email, name, role, works_for, password_hash) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Text, _>(new.email.as_str())
    .bind::<Nullable<Text>, _>(new.name)
    .bind::<Text, _>(new.role.as_str())
    .bind::<Nullable<Text>, _>(new.works_for)
    .bind::<Text, _>(new.password_hash)
    .execute(tx.connection())
    .await?;
    Ok(id)
}

/// Who signs in with this address.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find_by_email(
    tx: &mut PlatformTransaction,
    email: &EmailAddress,
) -> Result<Option<UserRow>, DatabaseError> {
    let mut rows: Vec<UserRow> = database::sql(format!("SELECT {COLUMNS} FROM users WHERE email = $1"))
        .bind::<Text, _>(email.as_str())
        .load(tx.connection())
        .await?;
    Ok(rows.pop())
}

/// The user with this id.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut PlatformTransaction, id: Uuid) -> Result<Option<UserRow>, DatabaseError> {
    let mut rows: Vec<UserRow> = database::sql(format!("SELECT {COLUMNS} FROM users WHERE id = $1"))
        .bind::<SqlUuid, _>(id)
        .load(tx.connection())
        .await?;
    Ok(rows.pop())
}

/// Users behind the address `after`, in the order of their addresses; with words, those in whose addresses, names or
/// tenants each of them begins a word.
///
/// # Errors
/// [`DatabaseError`].
pub async fn page(
    tx: &mut PlatformTransaction,
    words: &[String],
    after: Option<&str>,
    most: i64,
) -> Result<Vec<UserRow>, DatabaseError> {
    // The expression is the one of the index `users_words`.
    let found = if words.is_empty() {
        "$3 = ''"
    } else {
        "to_tsvector('simple', regexp_replace(lower(email || ' ' || coalesce(name, '') || ' ' || coalesce(works_for, '')), \
         '[^[:alnum:]]+', ' ', 'g')) @@ to_tsquery('simple', $3)"
    };
    let rows = database::sql(format!(
        "SELECT {COLUMNS} FROM users WHERE {found} AND email > coalesce($1, '') ORDER BY email LIMIT $2"
    ))
    .bind::<Nullable<Text>, _>(after)
    .bind::<BigInt, _>(most)
    .bind::<Text, _>(super::words::beginnings(words))
    .load(tx.connection())
    .await?;
    Ok(rows)
}

/// Everybody, in the order of their addresses, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(tx: &mut PlatformTransaction, most: i64) -> Result<Vec<UserRow>, DatabaseError> {
    let rows = database::sql(format!("SELECT {COLUMNS} FROM users ORDER BY email LIMIT $1"))
        .bind::<BigInt, _>(most)
        .load(tx.connection())
        .await?;
    Ok(rows)
}

/// Gives somebody another password.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set_password(
    tx: &mut PlatformTransaction,
    id: Uuid,
    password_hash: &str,
) -> Result<(), DatabaseError> {
    database::sql("UPDATE users SET password_hash = $2, updated_at = now() WHERE id = $1")
        .bind::<SqlUuid, _>(id)
        .bind::<Text, _>(password_hash)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Lets somebody in or keeps them out.
///
/// # Errors
/// [`DatabaseError`].
pub async fn set_disabled(
    tx: &mut PlatformTransaction,
    id: Uuid,
    disabled: bool,
) -> Result<(), DatabaseError> {
    database::sql("UPDATE users SET disabled = $2, updated_at = now() WHERE id = $1")
        .bind::<SqlUuid, _>(id)
        .bind::<Bool, _>(disabled)
        .execute(tx.connection())
        .await?;
    Ok(())
}
