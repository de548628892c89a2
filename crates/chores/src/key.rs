//! `key reencrypt`: every stored secret is sealed anew under the newest key, so that an older key can go.
//!
//! A service says which of its columns are sealed and what each secret is bound to; the walk is the same everywhere. It may
//! be stopped and begun again at any time: what is sealed under the newest key already is opened and left as it is.

use std::collections::BTreeMap;

use clap::Subcommand;
use database::{Database, DatabaseError};
use domain::ids::TenantId;
use runtime::encryption::KeyRing;
use serde::Serialize;
use tenant_isolation::sealed_rows::{SealedRow, SealedTable, Secrets};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantTransaction, sealed_keys};

/// Rows that are read at once.
const PAGE: i64 = 200;

/// Chores about encryption keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Seal every secret anew under the first of ENCRYPTION_KEYS, so that older ones can go; may be stopped and begun again
    Reencrypt,
}

/// How the secrets of one kind fared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Fared {
    /// Were sealed anew.
    pub resealed: u64,
    /// Were sealed under the newest key already, and open.
    pub current: u64,
    /// Do not open under any key at hand, and were left as they are.
    pub unreadable: u64,
}

/// Secrets that do not open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// Whose they are.
    pub tenant_id: TenantId,
    /// In which table and column.
    pub kind: String,
    /// How many.
    pub secrets: u64,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Resealed {
    /// The key that everything is sealed under now, or should be.
    pub key: String,
    /// By table and column.
    pub kinds: BTreeMap<String, Fared>,
    /// Whose secrets do not open.
    pub unreadable: Vec<Unreadable>,
    /// How many secrets are sealed under other keys at the end, by the key's id: those that do not open, and what somebody
    /// has written back meanwhile who had read it before.
    pub still_under: BTreeMap<String, i64>,
}

/// Why an older key cannot go yet.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Some secrets do not open.
    #[error(
        "{0} secret(s) do not open: put the key that they are sealed under back into ENCRYPTION_KEYS and run it again; \
         where that does not help, store them anew"
    )]
    Unreadable(u64),
    /// Somebody wrote meanwhile what was sealed under an older key.
    #[error("{0} secret(s) are still sealed under older keys: run it again before one of those goes")]
    StillUnderOlder(i64),
    /// The database.
    #[error("the sealed secrets cannot be gone through")]
    Database(#[from] DatabaseError),
}

/// Runs a command about keys over these tables, and prints what came of it.
///
/// # Errors
/// [`KeyError`]: older keys have to stay.
pub async fn run(
    db: &Database,
    keys: &KeyRing,
    tables: &[SealedTable],
    command: KeyCommand,
) -> Result<(), KeyError> {
    let KeyCommand::Reencrypt = command;
    let done = reencrypt(db, keys, tables).await?;
    runtime::process::print(&serde_json::json!(done));
    let unreadable: u64 = done.kinds.values().map(|fared| fared.unreadable).sum();
    let older: i64 = done.still_under.values().sum();
    match (unreadable, older) {
        (0, 0) => Ok(()),
        (0, older) => Err(KeyError::StillUnderOlder(older)),
        (unreadable, _) => Err(KeyError::Unreadable(unreadable)),
    }
}

/// Seals what is not sealed under the newest key, each row in a transaction of its own: nobody who changes one of them waits
/// long, and what they change is never overwritten.
///
/// # Errors
/// [`DatabaseError`]; what was done until then stays done.
pub async fn reencrypt(
    db: &Database,
    keys: &KeyRing,
    tables: &[SealedTable],
) -> Result<Resealed, DatabaseError> {
    let mut done = Resealed {
        key: keys.newest_id().to_owned(),
        ..Resealed::default()
    };
    for table in tables {
        for column in table.columns {
            done.kinds.insert(kind(table, column.name), Fared::default());
        }
        let mut last = None;
        loop {
            let purpose = PlatformScope::for_purpose("find secrets to seal anew");
            let mut tx = PlatformTransaction::begin(db, purpose).await?;
            let page = table.page(&mut tx, last.as_ref(), PAGE).await?;
            tx.commit().await?;
            if page.is_empty() {
                break;
            }
            for (row, mut secrets) in page {
                if is_current(keys, table, &mut secrets) {
                    done.seal(keys, table, &row, &mut secrets);
                } else {
                    let mut tx = TenantTransaction::begin(db, row.scope(), "seal secrets anew").await?;
                    // As they are by now, if the row is still there.
                    if let Some(mut secrets) = table.lock(&mut tx, &row).await? {
                        done.seal(keys, table, &row, &mut secrets);
                        table.put(&mut tx, &row, &secrets).await?;
                    }
                    tx.commit().await?;
                }
                last = Some(row);
            }
        }
    }
    done.still_under = sealed_keys::in_use(db).await?;
    done.still_under.remove(&done.key);
    Ok(done)
}

fn kind(table: &SealedTable, column: &str) -> String {
    format!("{}.{column}", table.name)
}

fn is_current(keys: &KeyRing, table: &SealedTable, secrets: &mut Secrets) -> bool {
    let mut columns = table.columns.iter();
    columns.all(|column| {
        secrets
            .of(column.name)
            .iter()
            .all(|sealed| keys.is_current(sealed))
    })
}

impl Resealed {
    /// Puts what is sealed under an older key into a new seal, and notes how each secret fared.
    fn seal(&mut self, keys: &KeyRing, table: &SealedTable, row: &SealedRow, secrets: &mut Secrets) {
        for column in table.columns {
            let kind = kind(table, column.name);
            let binding = (column.binding)(row);
            let fared = self.kinds.entry(kind.clone()).or_default();
            let mut unreadable = 0;
            for sealed in secrets.of(column.name) {
                match binding.as_deref().and_then(|binding| anew(keys, sealed, binding)) {
                    Some(Anew::Sealed(anew)) => {
                        *sealed = anew;
                        fared.resealed += 1;
                    }
                    Some(Anew::Current) => fared.current += 1,
                    None => unreadable += 1,
                }
            }
            fared.unreadable += unreadable;
            self.note_unreadable(row.scope().tenant(), kind, unreadable);
        }
    }

    fn note_unreadable(&mut self, tenant: &TenantId, kind: String, secrets: u64) {
        if secrets == 0 {
            return;
        }
        // A table's rows come tenant by tenant.
        let known = self.unreadable.iter_mut().rev();
        let mut known = known.take_while(|known| known.tenant_id == *tenant);
        match known.find(|known| known.kind == kind) {
            Some(known) => known.secrets += secrets,
            None => self.unreadable.push(Unreadable {
                tenant_id: tenant.clone(),
                kind,
                secrets,
            }),
        }
    }
}

enum Anew {
    Current,
    Sealed(String),
}

/// `None`: it does not open.
fn anew(keys: &KeyRing, sealed: &str, binding: &str) -> Option<Anew> {
    let secret = keys.open(sealed, binding).ok()?;
    if keys.is_current(sealed) {
        return Some(Anew::Current);
    }
    keys.seal(&secret, binding).ok().map(Anew::Sealed)
}
