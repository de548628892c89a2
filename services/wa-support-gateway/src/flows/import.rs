//! Taking over the original's customers (contract §13): one transaction a customer, and nothing that is here already is
//! changed, so the import may be repeated until the day of the move. Keys keep working: they are kept as the same hash.
//! Tokens, which the original keeps as they are, are sealed.

use std::collections::{BTreeMap, HashSet};

use database::{Database, DatabaseError};
use domain::ids::TenantId;
use domain::subscription::SubscriptionStatus;
use runtime::encryption::{EncryptionError, KeyRing};
use secrecy::SecretString;
use serde::Serialize;
use tenant_isolation::resolve::ExternalId;
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::standing::Standings;
use crate::config::BusinessZone;
use crate::secrets;
use crate::store::import::{self, Sealed};
use crate::store::original::{Original, SessionRow, StatisticRow, UserRow};
use crate::store::{api_keys, customers, directory, ownership};

/// Users, and contacts, that are read at once.
const USERS: i64 = 500;
const CONTACTS: i32 = 2000;

/// Skipped rows that the report names one by one; all are counted.
const NAMED: usize = 500;

/// What people tell an imported key by: its first characters are not known.
const KEY_PREFIX: &str = "imported";

const WITHOUT_USER: &str = "its user does not exist";
const WITHOUT_CUSTOMER: &str = "its user is not imported";
const WITHOUT_SESSION: &str = "its session is not imported, or does not exist";

/// Why an import ended early. Customers before that are imported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// The original's tables cannot be read.
    #[error("the original's tables cannot be read")]
    Original(#[source] DatabaseError),
    /// Our own rows cannot be written.
    #[error(transparent)]
    Own(#[from] DatabaseError),
    /// A secret cannot be sealed.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
}

/// What became of a table's rows: `read` is the sum of the others.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Counts {
    read: i64,
    imported: i64,
    /// Here already, and left as they are.
    unchanged: i64,
    skipped: BTreeMap<&'static str, i64>,
}

/// A row that was left out.
#[derive(Debug, Serialize)]
struct Skipped {
    table: &'static str,
    id: String,
    reason: &'static str,
}

/// What an import did, or would do.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    dry_run: bool,
    tables: BTreeMap<&'static str, Counts>,
    skipped: Vec<Skipped>,
    /// Customers that are imported without a key: theirs is no SHA-256 in hex.
    without_key: Vec<String>,
}

const USERS_TABLE: &str = "wa_service_users";
const SUBSCRIPTIONS_TABLE: &str = "wa_user_subscriptions";
const SESSIONS_TABLE: &str = "wa_sessions";
const STATISTICS_TABLE: &str = "wa_session_message_stats";
const CONTACTS_TABLE: &str = "wa_session_contacts";
const TABLES: [&str; 5] = [
    USERS_TABLE,
    SUBSCRIPTIONS_TABLE,
    SESSIONS_TABLE,
    STATISTICS_TABLE,
    CONTACTS_TABLE,
];

impl Report {
    fn of(&mut self, table: &'static str) -> &mut Counts {
        self.tables.entry(table).or_default()
    }

    /// A row that was written, or was there.
    fn done(&mut self, table: &'static str, added: bool) {
        let counts = self.of(table);
        *(if added {
            &mut counts.imported
        } else {
            &mut counts.unchanged
        }) += 1;
    }

    fn skip(&mut self, table: &'static str, id: impl ToString, reason: &'static str) {
        self.skip_many(table, 1, reason);
        if self.skipped.len() < NAMED {
            let id = id.to_string();
            self.skipped.push(Skipped { table, id, reason });
        }
    }

    fn skip_many(&mut self, table: &'static str, rows: i64, reason: &'static str) {
        if rows > 0 {
            *self.of(table).skipped.entry(reason).or_default() += rows;
        }
    }
}

/// An import in hand.
pub(crate) struct Import<'a> {
    db: &'a Database,
    keys: &'a KeyRing,
    zone: BusinessZone,
    original: Original,
    /// Where running processes hear of changed customers.
    standings: Option<Standings>,
    report: Report,
    /// Names that sessions of this import have taken: without a commit nobody else remembers them.
    names: HashSet<String>,
}

impl<'a> Import<'a> {
    pub(crate) fn new(
        db: &'a Database,
        keys: &'a KeyRing,
        zone: BusinessZone,
        original: Original,
        standings: Option<Standings>,
        dry_run: bool,
    ) -> Self {
        Self {
            db,
            keys,
            zone,
            original,
            standings,
            report: Report {
                dry_run,
                ..Report::default()
            },
            names: HashSet::new(),
        }
    }

    /// Imports everything there is. A dry run does the same and commits nothing.
    ///
    /// # Errors
    /// [`ImportError`]; running it again goes on where it stopped.
    pub(crate) async fn run(mut self) -> Result<Report, ImportError> {
        for table in TABLES {
            let rows = self.original.rows(table).await.map_err(ImportError::Original)?;
            self.report.of(table).read = rows;
            if table != USERS_TABLE {
                let orphans = self
                    .original
                    .orphans(table)
                    .await
                    .map_err(ImportError::Original)?;
                self.report.skip_many(table, orphans, WITHOUT_USER);
            }
        }
        let mut after = String::new();
        loop {
            let users = self
                .original
                .users(&after, USERS)
                .await
                .map_err(ImportError::Original)?;
            let Some(last) = users.last() else {
                break;
            };
            after.clone_from(&last.id);
            for user in &users {
                self.customer(user).await?;
            }
        }
        self.settle();
        Ok(self.report)
    }

    /// What was neither imported nor skipped by name belonged to a customer or a session that was left out.
    fn settle(&mut self) {
        for (table, reason) in [
            (SUBSCRIPTIONS_TABLE, WITHOUT_CUSTOMER),
            (SESSIONS_TABLE, WITHOUT_CUSTOMER),
            (STATISTICS_TABLE, WITHOUT_SESSION),
            (CONTACTS_TABLE, WITHOUT_SESSION),
        ] {
            let counts = self.report.of(table);
            let known = counts.imported + counts.unchanged + counts.skipped.values().sum::<i64>();
            let left = counts.read - known;
            self.report.skip_many(table, left, reason);
        }
    }

    async fn customer(&mut self, user: &UserRow) -> Result<(), ImportError> {
        let Ok(tenant) = TenantId::parse(user.id.clone()) else {
            self.report.skip(
                USERS_TABLE,
                &user.id,
                "its id holds characters that no id may hold",
            );
            return Ok(());
        };
        if user.source.trim().is_empty() {
            self.report
                .skip(USERS_TABLE, &user.id, "it belongs to no service");
            return Ok(());
        }
        let scope = TenantScope::named_by_operator(tenant);
        let mut tx = TenantTransaction::begin(self.db, &scope, "import customer").await?;
        let status = if user.status == customers::ACTIVE {
            customers::ACTIVE
        } else {
            "suspended"
        };
        let added = import::add_customer(&mut tx, user, status).await?;
        if added {
            self.key(&mut tx, user).await?;
        } else {
            let here = ownership::lock(&mut tx).await?.map(|row| row.source_service);
            if here.as_deref() != Some(user.source.as_str()) {
                self.report
                    .skip(USERS_TABLE, &user.id, "it belongs to another service here");
                return Ok(());
            }
        }
        self.report.done(USERS_TABLE, added);
        self.subscriptions(&mut tx, user).await?;
        self.sessions(&mut tx, user).await?;
        if self.report.dry_run {
            // Rolled back when it is dropped.
            drop(tx);
        } else {
            tx.commit().await?;
            if let Some(standings) = &self.standings {
                standings.forget(&scope).await;
            }
        }
        Ok(())
    }

    async fn key(&mut self, tx: &mut TenantTransaction, user: &UserRow) -> Result<(), ImportError> {
        let hash = user.key_hash.to_ascii_lowercase();
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let external = ExternalId::new(directory::API_KEY, &hash).filter(|_| is_hash);
        let id = Uuid::now_v7();
        let claimed = match &external {
            Some(external) => directory::claim(tx, external, id).await?,
            None => false,
        };
        if claimed {
            api_keys::insert(tx, id, &hash, KEY_PREFIX).await?;
        } else {
            self.report.without_key.push(user.id.clone());
        }
        Ok(())
    }

    async fn subscriptions(&mut self, tx: &mut TenantTransaction, user: &UserRow) -> Result<(), ImportError> {
        let rows = self
            .original
            .subscriptions(&user.id)
            .await
            .map_err(ImportError::Original)?;
        let mut providers = HashSet::new();
        for row in rows {
            if !providers.insert(row.provider.clone()) {
                let reason = "another subscription of this user and provider counts";
                self.report.skip(SUBSCRIPTIONS_TABLE, row.id, reason);
                continue;
            }
            let status = row.status.parse().unwrap_or(SubscriptionStatus::Inactive);
            let max_sessions = i32::try_from(row.max_sessions.max(1)).unwrap_or(i32::MAX);
            let added = import::add_subscription(tx, &row, status.as_str(), max_sessions).await?;
            self.report.done(SUBSCRIPTIONS_TABLE, added);
        }
        Ok(())
    }

    async fn sessions(&mut self, tx: &mut TenantTransaction, user: &UserRow) -> Result<(), ImportError> {
        let rows = self
            .original
            .sessions(&user.id)
            .await
            .map_err(ImportError::Original)?;
        let mut ids = HashSet::new();
        for row in rows {
            if !ids.insert(row.session_id.clone()) {
                self.report
                    .skip(SESSIONS_TABLE, row.id, "another row of this session is newer");
                continue;
            }
            let id = match import::session(tx, &row.session_id).await? {
                Some(id) => {
                    self.names.insert(row.name.clone());
                    self.report.done(SESSIONS_TABLE, false);
                    id
                }
                None => match self.session(tx, &row).await? {
                    Ok(id) => {
                        self.report.done(SESSIONS_TABLE, true);
                        id
                    }
                    Err(reason) => {
                        self.report.skip(SESSIONS_TABLE, row.id, reason);
                        continue;
                    }
                },
            };
            self.statistics(tx, user, &row.session_id, id).await?;
            self.contacts(tx, user, &row.session_id, id).await?;
        }
        Ok(())
    }

    /// Adds a session, or says why not.
    async fn session(
        &mut self,
        tx: &mut TenantTransaction,
        row: &SessionRow,
    ) -> Result<Result<Uuid, &'static str>, ImportError> {
        if row.token.is_empty() || row.session_id.is_empty() {
            return Ok(Err("it has no token, or no id at the WA server"));
        }
        let plain = row.name.trim() == row.name && !row.name.chars().any(char::is_control);
        let Some(name) = ExternalId::new(directory::SESSION_NAME, &row.name).filter(|_| plain) else {
            return Ok(Err("its name can be no session's name here"));
        };
        let (token, id) = (SecretString::from(row.token.as_str()), Uuid::now_v7());
        let token_hash = secrets::token_hash(&token);
        let by_token = ExternalId::new(directory::SESSION_TOKEN, &token_hash);
        if self.names.contains(&row.name) || !directory::claim(tx, &name, id).await? {
            return Ok(Err("another session has its name"));
        }
        let Some(by_token) = by_token else {
            return Ok(Err("it has no token, or no id at the WA server"));
        };
        if !directory::claim(tx, &by_token, id).await? {
            directory::release(tx, id, None).await?;
            return Ok(Err("another session has its token"));
        }
        let scope = tx.scope().clone();
        let sealed = Sealed {
            token_hash,
            token: self.keys.seal(&token, &secrets::token_binding(&scope, id))?,
            hmac_key: self
                .keys
                .seal(&secrets::new_hmac_key(), &secrets::hmac_key_binding(&scope, id))?,
        };
        import::add_session(tx, id, row, &sealed).await?;
        self.names.insert(row.name.clone());
        Ok(Ok(id))
    }

    /// Totals have no day in the original; they are kept under the day on which their row was made, which does not
    /// change from one import to the next.
    async fn statistics(
        &mut self,
        tx: &mut TenantTransaction,
        user: &UserRow,
        session_id: &str,
        session: Uuid,
    ) -> Result<(), ImportError> {
        let rows = self.original.statistics(&user.id, session_id).await;
        for row in rows.map_err(ImportError::Original)? {
            let day = self.zone.day(row.created_at);
            let added = import::add_usage(tx, session, day, kind(&row), &row).await?;
            let counts = self.report.of(STATISTICS_TABLE);
            *(if added {
                &mut counts.imported
            } else {
                &mut counts.unchanged
            }) += row.rows;
        }
        Ok(())
    }

    async fn contacts(
        &mut self,
        tx: &mut TenantTransaction,
        user: &UserRow,
        session_id: &str,
        session: Uuid,
    ) -> Result<(), ImportError> {
        let all = self.original.contact_rows(&user.id, session_id).await;
        let all = all.map_err(ImportError::Original)?;
        let (mut after, mut distinct) = (String::new(), 0);
        loop {
            let rows = self
                .original
                .contacts(&user.id, session_id, &after, CONTACTS)
                .await;
            let rows = rows.map_err(ImportError::Original)?;
            let Some(last) = rows.last() else {
                break;
            };
            after.clone_from(&last.jid);
            let (read, added) = (rows.len(), import::add_contacts(tx, session, &rows).await?);
            let (read, added) = (whole(read), whole(added));
            let counts = self.report.of(CONTACTS_TABLE);
            counts.imported += added;
            counts.unchanged += read - added;
            distinct += read;
        }
        let reason = "another row of this contact is newer, or it has no jid";
        self.report.skip_many(CONTACTS_TABLE, all - distinct, reason);
        Ok(())
    }
}

/// The type of message. The original takes whatever a caller wrote into the path; what is no word is `other`.
fn kind(row: &StatisticRow) -> &str {
    let word = &row.message_type;
    let is_word = (1..=32).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase());
    if is_word { word } else { "other" }
}

fn whole(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
