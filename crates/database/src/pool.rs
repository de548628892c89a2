//! A bounded pool. Waiting for a connection has a limit, so that overload becomes an answer and not a queue.

use std::time::Duration;

use deadpool::Runtime;
use diesel::ConnectionError;
use diesel_async::pooled_connection::deadpool::{Object, Pool};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::FutureExt as _;
use tokio::runtime::Handle;

use crate::{DatabaseError, DatabaseUrl, SchemaNames, quote_identifier};

/// A connection from the pool, working as the service's tenant role.
pub type Connection = Object<AsyncPgConnection>;

/// Bounds of a pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolSettings {
    /// Most connections at once.
    pub size: usize,
    /// Longest wait for a free one, and for opening one.
    pub wait: Duration,
}

/// How a pool is used at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// Connections that somebody works with.
    pub in_use: usize,
    /// Callers that wait for one.
    pub waiting: usize,
    /// Most connections there may be.
    pub most: usize,
}

/// A service's database. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pool: Pool<AsyncPgConnection>,
    names: SchemaNames,
    keeps_plans: bool,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl Database {
    /// Prepares a pool; connections are opened when they are needed, so this works while Postgres is away. They live
    /// on the runtime this is called in.
    ///
    /// # Errors
    /// [`DatabaseError::Refused`] when the pool's own settings are impossible.
    pub fn new(url: &DatabaseUrl, names: SchemaNames, settings: PoolSettings) -> Result<Self, DatabaseError> {
        let mut config = ManagerConfig::<AsyncPgConnection>::default();
        // A pooled connection that died is found by its use, which fails as `Unavailable`; a round trip on every
        // checkout would find it a moment earlier at most.
        config.recycling_method = RecyclingMethod::Fast;
        let (target, setup) = (url.clone(), session_setup(&names));
        // A connection is driven by a task of the runtime that opened it, and each worker of an HTTP server has a
        // runtime of its own that ends before the work in hand does: all are opened where the pool was made.
        let home = Handle::try_current().ok();
        config.custom_setup = Box::new(move |_| {
            let (target, setup, home) = (target.clone(), setup.clone(), home.clone());
            async move {
                match home {
                    Some(home) => home
                        .spawn(async move { open(&target, &setup).await })
                        .await
                        .unwrap_or_else(|error| Err(ConnectionError::BadConnection(error.to_string()))),
                    None => open(&target, &setup).await,
                }
            }
            .boxed()
        });
        let manager = AsyncDieselConnectionManager::new_with_config(String::new(), config);
        let pool = Pool::builder(manager)
            .max_size(settings.size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(settings.wait))
            .create_timeout(Some(settings.wait))
            .recycle_timeout(Some(settings.wait))
            .build()
            .map_err(|error| DatabaseError::Refused(Box::new(error)))?;
        Ok(Self {
            pool,
            names,
            keeps_plans: false,
        })
    }

    /// The same database for work of which there is much, with the same few statements that find each row by its key:
    /// in its transactions Postgres keeps their plans instead of making them anew for each call, which is half of what
    /// such a statement costs. Not for lists and sums, whose best plan depends on what is asked for.
    #[must_use]
    pub fn keeping_plans(&self) -> Self {
        Self {
            keeps_plans: true,
            ..self.clone()
        }
    }

    /// What a transaction begins with when plans are to be kept, after `BEGIN`; else nothing. A plan that was made while
    /// a table was empty must not read all of it when it is long, so it never reads a table from end to end where there is
    /// an index.
    #[must_use]
    pub const fn plans(&self) -> &'static str {
        if self.keeps_plans {
            "; SET LOCAL plan_cache_mode = auto; SET LOCAL enable_seqscan = off"
        } else {
            ""
        }
    }

    /// The schema and roles this database is used with.
    #[must_use]
    pub const fn names(&self) -> &SchemaNames {
        &self.names
    }

    /// A connection, within the bounds of the pool.
    ///
    /// # Errors
    /// [`DatabaseError::Unavailable`] when none is free in time or Postgres does not answer.
    pub async fn connection(&self) -> Result<Connection, DatabaseError> {
        self.pool.get().await.map_err(DatabaseError::unavailable)
    }

    /// How the pool is used now. Asks nobody.
    #[must_use]
    pub fn usage(&self) -> PoolUse {
        let status = self.pool.status();
        PoolUse {
            in_use: status.size.saturating_sub(status.available),
            waiting: status.waiting,
            most: status.max_size,
        }
    }

    /// Does Postgres answer? For readiness.
    ///
    /// # Errors
    /// [`DatabaseError::Unavailable`] when it does not.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        Ok(self.connection().await?.batch_execute("SELECT 1").await?)
    }
}

/// What every connection does once: work as the tenant role, in the service's schema, with limits against being
/// held up for ever.
///
/// Statements are planned for their values and for the size that tables have at that moment: a queue that was empty when
/// a plan was made, and kept, would be read from end to end when it is long, until somebody analyses it. See
/// [`Database::keeping_plans`].
fn session_setup(names: &SchemaNames) -> String {
    format!(
        "SET search_path TO {}; SET ROLE {}; SET statement_timeout = '30s'; \
         SET idle_in_transaction_session_timeout = '60s'; SET lock_timeout = '10s'; SET plan_cache_mode = force_custom_plan",
        quote_identifier(&names.schema),
        quote_identifier(&names.tenant_role),
    )
}

/// A connection to another database than the service's own, e.g. one that is imported from: all of it one transaction
/// that reads one moment and writes nothing.
///
/// # Errors
/// [`DatabaseError::Unavailable`] when Postgres does not answer or does not let us in.
pub async fn read_elsewhere(url: &DatabaseUrl) -> Result<AsyncPgConnection, DatabaseError> {
    const ONE_MOMENT: &str =
        "SET statement_timeout = '120s'; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    open(url, ONE_MOMENT).await.map_err(DatabaseError::unavailable)
}

async fn open(url: &DatabaseUrl, setup: &str) -> Result<AsyncPgConnection, ConnectionError> {
    let bad = |error: tokio_postgres::Error| ConnectionError::BadConnection(with_causes(&error));
    let mut options = url.options().map_err(bad)?;
    options
        .application_name("kanal")
        .connect_timeout(Duration::from_secs(5))
        .keepalives_idle(Duration::from_secs(30));
    let (client, connection) = url.connect(options).await.map_err(bad)?;
    let mut opened = AsyncPgConnection::try_from_client_and_connection(client, connection).await?;
    opened
        .batch_execute(setup)
        .await
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(opened)
}

/// With every cause: the driver alone says no more than "db error" of a refusal, and causes do not survive the pool.
/// None of them holds a password.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
