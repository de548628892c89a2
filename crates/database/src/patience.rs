//! Changing a schema beside those who use it.
//!
//! Who waits for a lock keeps all those waiting who come after, whatever they want of the table. So a change waits briefly, is
//! taken back, lets them pass, and comes again, a bounded number of times.

use std::collections::BTreeSet;
use std::time::Duration;

use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use crate::pool::with_causes;
use crate::{DatabaseError, MigrationError, SchemaNames, sql};

/// How long a change waits for transactions that are in its way.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Longest wait for a lock; others who want the table wait as long.
    pub lock: Duration,
    /// Between one try and the next.
    pub pause: Duration,
    /// How often it is tried.
    pub tries: u32,
}

impl Default for Patience {
    /// Two and a half minutes: longer than any transaction of a service may take.
    fn default() -> Self {
        Self {
            lock: Duration::from_secs(3),
            pause: Duration::from_secs(5),
            tries: 20,
        }
    }
}

impl Patience {
    /// What the connection has to be told.
    pub(crate) fn setting(self) -> String {
        format!("SET lock_timeout = '{}ms'", self.lock.as_millis())
    }

    /// Begins to try something in a schema.
    pub(crate) const fn tries(self) -> Tries {
        Tries {
            patience: self,
            made: 0,
            in_use: BTreeSet::new(),
        }
    }
}

/// Tries of one change.
pub(crate) struct Tries {
    patience: Patience,
    made: u32,
    /// Which transaction held which table before the last try.
    in_use: BTreeSet<Use>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, diesel::QueryableByName)]
struct Use {
    #[diesel(sql_type = Text)]
    holder: String,
    #[diesel(sql_type = Text)]
    transaction: String,
    #[diesel(sql_type = Text)]
    relation: String,
}

impl Tries {
    /// To be called before each try.
    pub(crate) async fn begin(
        &mut self,
        connection: &mut AsyncPgConnection,
        names: &SchemaNames,
    ) -> Result<(), MigrationError> {
        self.in_use = in_use(connection, names).await?;
        Ok(())
    }

    /// After one that failed: waits until it is time for the next.
    ///
    /// # Errors
    /// The failure, if it is not that somebody was in the way; [`MigrationError::Busy`] when that was so too often.
    pub(crate) async fn again(
        &mut self,
        connection: &mut AsyncPgConnection,
        names: &SchemaNames,
        failure: MigrationError,
    ) -> Result<(), MigrationError> {
        if !is_in_the_way(&failure) {
            return Err(failure);
        }
        self.made += 1;
        // Who holds a table before and after the wait held it all the while.
        let still = in_use(connection, names).await?;
        let held: Vec<String> = still
            .intersection(&self.in_use)
            .map(|one| format!("{} by process {}", one.relation, one.holder))
            .collect();
        let (held, tries) = (held.join(", "), self.patience.tries);
        if self.made >= tries {
            return Err(MigrationError::Busy {
                tries,
                failure: with_causes(&failure),
                held,
            });
        }
        let seconds = self.patience.pause.as_secs();
        tracing::warn!(
            error = with_causes(&failure),
            held,
            tried = self.made,
            tries,
            seconds,
            "a change of the schema waits for transactions in its way"
        );
        tokio::time::sleep(self.patience.pause).await;
        Ok(())
    }
}

/// Transactions of others that have tables of the schema in use.
async fn in_use(
    connection: &mut AsyncPgConnection,
    names: &SchemaNames,
) -> Result<BTreeSet<Use>, MigrationError> {
    let uses: Vec<Use> = sql("SELECT DISTINCT l.pid::text AS holder, l.virtualtransaction AS transaction, c.relname::text AS relation \
             FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace \
            WHERE l.granted AND l.pid <> pg_backend_pid() AND c.relkind IN ('r', 'p') AND n.nspname = $1 \
              AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())")
    .bind::<Text, _>(&names.schema)
    .load(connection)
    .await?;
    Ok(uses.into_iter().collect())
}

/// Postgres' words for conditions 55P03 and 40P01, whose codes diesel does not hand on.
fn is_in_the_way(failure: &MigrationError) -> bool {
    if matches!(failure, MigrationError::Prepare(DatabaseError::Contended)) {
        return true;
    }
    let said = with_causes(failure);
    said.contains("canceling statement due to lock timeout") || said.contains("deadlock detected")
}
