//! Transactions that carry a scope into Postgres.
//!
//! The scope is a setting of the transaction (`SET LOCAL`), so it ends with it and cannot be met by the next user of
//! a pooled connection. A transaction that is dropped without [`commit`](Transaction::commit) is rolled back.

use std::time::Instant;

use database::{Connection, Database, DatabaseError, quote_identifier, quote_literal};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::future::BoxFuture;

use crate::scope::{PlatformScope, ScopeSet, TenantScope};

/// An open transaction and the scope it was opened for.
///
/// Functions of a service's store take one of the three kinds below, which tells for whom they work.
pub struct Transaction<S> {
    connection: Option<Connection>,
    scope: S,
    name: &'static str,
    started: Instant,
    counting: Vec<Counting>,
}

/// What is counted once the work is durable.
type Counting = Box<dyn FnOnce() + Send + Sync>;

/// A transaction for one tenant: the only rows there are, are the tenant's.
pub type TenantTransaction = Transaction<TenantScope>;

/// A transaction for several resolved tenants.
pub type GroupTransaction = Transaction<ScopeSet>;

/// A transaction over all tenants, under the platform role.
pub type PlatformTransaction = Transaction<PlatformScope>;

impl TenantTransaction {
    /// Opens a transaction in which only `scope`'s rows exist. `name` names it in metrics and logs.
    ///
    /// # Errors
    /// [`DatabaseError::Unavailable`] when no connection is to be had.
    pub async fn begin(
        db: &Database,
        scope: &TenantScope,
        name: &'static str,
    ) -> Result<Self, DatabaseError> {
        let setting = ScopeSet::from(scope).setting();
        Self::open(db, scope.clone(), &tenants_statement(&setting), name).await
    }

    /// As [`begin`](Self::begin), for what may be forgotten when Postgres crashes: its commit does not wait for the disk.
    /// Whatever is committed later in the ordinary way is only kept together with it.
    ///
    /// # Errors
    /// [`DatabaseError::Unavailable`] when no connection is to be had.
    pub async fn begin_not_awaited(
        db: &Database,
        scope: &TenantScope,
        name: &'static str,
    ) -> Result<Self, DatabaseError> {
        let statement = format!(
            "{}; SET LOCAL synchronous_commit = off",
            tenants_statement(&ScopeSet::from(scope).setting())
        );
        Self::open(db, scope.clone(), &statement, name).await
    }
}

impl GroupTransaction {
    /// Opens a transaction in which the rows of exactly these tenants exist.
    ///
    /// # Errors
    /// [`DatabaseError::Unavailable`] when no connection is to be had.
    pub async fn begin(db: &Database, scopes: ScopeSet, name: &'static str) -> Result<Self, DatabaseError> {
        let statement = tenants_statement(&scopes.setting());
        Self::open(db, scopes, &statement, name).await
    }
}

impl GroupTransaction {
    /// Does a part of the work for one of the tenants, in a transaction in which only its rows exist meanwhile. Returns the
    /// transaction of all of them.
    ///
    /// # Errors
    /// [`DatabaseError`]; nothing of the whole transaction is kept then. Also when the tenant is none of them.
    pub async fn for_member<F>(mut self, scope: &TenantScope, work: F) -> Result<Self, DatabaseError>
    where
        F: for<'a> FnOnce(&'a mut TenantTransaction) -> BoxFuture<'a, Result<(), DatabaseError>>,
    {
        if !self.scope.has(scope) {
            return Err(DatabaseError::Refused("a tenant that is not of the group".into()));
        }
        let one = narrowing(&ScopeSet::from(scope).setting());
        self.connection().batch_execute(&one).await?;
        let all = std::mem::replace(&mut self.scope, ScopeSet::from(scope));
        let mut member = Transaction {
            connection: self.connection.take(),
            scope: scope.clone(),
            name: self.name,
            started: self.started,
            counting: std::mem::take(&mut self.counting),
        };
        work(&mut member).await?;
        member
            .connection()
            .batch_execute(&narrowing(&all.setting()))
            .await?;
        self.connection = member.connection.take();
        self.counting = std::mem::take(&mut member.counting);
        self.scope = all;
        Ok(self)
    }
}

impl PlatformTransaction {
    /// Opens a transaction that sees every tenant's rows.
    ///
    /// # Errors
    /// [`DatabaseError::Unavailable`] when no connection is to be had.
    pub async fn begin(db: &Database, scope: PlatformScope) -> Result<Self, DatabaseError> {
        let statement = format!(
            "BEGIN; SET LOCAL ROLE {}",
            quote_identifier(&db.names().platform_role)
        );
        Self::open(db, scope, &statement, scope.purpose()).await
    }
}

fn tenants_statement(setting: &str) -> String {
    format!("BEGIN; {}", narrowing(setting))
}

fn narrowing(setting: &str) -> String {
    format!("SET LOCAL kanal.tenants = {}", quote_literal(setting))
}

impl<S> Transaction<S> {
    async fn open(
        db: &Database,
        scope: S,
        statement: &str,
        name: &'static str,
    ) -> Result<Self, DatabaseError> {
        let connection = Some(db.connection().await?);
        let mut transaction = Self {
            connection,
            scope,
            name,
            started: Instant::now(),
            counting: Vec::new(),
        };
        match db.plans() {
            "" => transaction.connection().batch_execute(statement).await?,
            plans => {
                let both = format!("{statement}{plans}");
                transaction.connection().batch_execute(&both).await?;
            }
        }
        Ok(transaction)
    }

    /// For whom the work is done.
    pub const fn scope(&self) -> &S {
        &self.scope
    }

    /// Does this after the commit, and never when there is none: for metrics, which must not count what was rolled back.
    pub fn when_committed(&mut self, count: impl FnOnce() + Send + Sync + 'static) {
        self.counting.push(Box::new(count));
    }

    /// The connection, for queries inside this transaction.
    #[expect(
        clippy::expect_used,
        reason = "only commit and drop take the connection, and both end the value"
    )]
    pub fn connection(&mut self) -> &mut AsyncPgConnection {
        self.connection
            .as_mut()
            .expect("an open transaction has its connection")
    }

    /// Makes the work durable.
    ///
    /// # Errors
    /// [`DatabaseError::Unavailable`] when nobody can tell whether it was committed; callers repeat the whole work,
    /// which is why all of it is idempotent. [`DatabaseError::Refused`] when a statement failed before, whatever was
    /// made of that error: nothing is committed then.
    pub async fn commit(mut self) -> Result<(), DatabaseError> {
        // Postgres answers COMMIT of a failed transaction with a rollback and no error; the statement before it
        // is what fails.
        self.connection().batch_execute("SELECT 1; COMMIT").await?;
        // From here on there is nothing to roll back: the connection goes back to the pool as it is.
        drop(self.connection.take());
        for count in self.counting.drain(..) {
            count();
        }
        metrics::histogram!("kanal_transaction_seconds", "name" => self.name).record(self.started.elapsed());
        Ok(())
    }
}

impl<S> Drop for Transaction<S> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        metrics::counter!("kanal_transactions_rolled_back_total", "name" => self.name).increment(1);
        // Dropped in the middle of a statement or on an error path: roll back in the background.
        let unfinished = Unfinished(Some(connection));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(unfinished.roll_back());
        }
    }
}

/// A connection with an open transaction. It must not reach the pool like this: it is rolled back or thrown away,
/// also when the runtime that should roll it back ends first (each worker of the HTTP server has one of its own).
struct Unfinished(Option<Connection>);

impl Unfinished {
    async fn roll_back(mut self) {
        if let Some(connection) = &mut self.0
            && connection.batch_execute("ROLLBACK").await.is_ok()
        {
            drop(self.0.take());
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Connection::take(connection));
        }
    }
}
