//! Shows what waits in the outbox and in the lanes, how the pool is used, and whether the clocks agree.
//!
//! Every process looks for itself, so nobody has to lead and the loss of one blinds nobody; whoever asks for the number takes
//! the largest. Each count walks an index from its begin and ends at [`COUNTED`], however much there is.

use std::collections::HashSet;
use std::time::Duration;

use database::{Database, DatabaseError};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Double, Text};
use diesel_async::RunQueryDsl;
use tenant_isolation::{PlatformScope, PlatformTransaction};
use tokio_util::sync::CancellationToken;

use crate::ledger::{Book, Held, begin, show};
use crate::publisher::error_chain;

const EVERY: Duration = Duration::from_secs(15);
/// Above so many nobody counts on; the gauge then shows one more.
pub const COUNTED: i64 = 10_000;
/// Tenants with a series of their own, those that hold the most; all others are `other`.
const TENANTS: usize = 10;

/// What waits, as it was counted.
#[derive(Debug, Clone, Copy, PartialEq, QueryableByName)]
pub struct Stock {
    /// How many, up to [`COUNTED`] and one.
    #[diesel(sql_type = BigInt)]
    pub many: i64,
    /// The age of the oldest of those that were counted.
    #[diesel(sql_type = Double)]
    pub oldest_seconds: f64,
}

/// Counts the rows of a query that gives their times as `at`, up to the bound `$1`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn stock(tx: &mut PlatformTransaction, rows: &'static str) -> Result<Stock, DatabaseError> {
    let stock = database::sql(format!(
        "SELECT count(*) AS many, \
                coalesce(greatest(extract(epoch FROM now() - min(at)), 0), 0)::double precision AS oldest_seconds \
         FROM ({rows} LIMIT $1) counted"
    ))
    .bind::<BigInt, _>(COUNTED + 1)
    .get_result(tx.connection())
    .await?;
    Ok(stock)
}

/// Looks every quarter of a minute until `stop`.
pub async fn run(db: Database, stop: CancellationToken) {
    begin(Book::Outbox);
    begin(Book::Tasks);
    let mut shown = HashSet::new();
    while !stop.is_cancelled() {
        show_pool(&db);
        if let Err(error) = look(&db, &mut shown).await {
            metrics::counter!("kanal_watch_failures_total").increment(1);
            tracing::warn!(error = error_chain(&error), "what waits could not be counted");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

fn show_pool(db: &Database) {
    let usage = db.usage();
    let number = |many: usize| f64::from(u32::try_from(many).unwrap_or(u32::MAX));
    metrics::gauge!("kanal_pool_in_use").set(number(usage.in_use));
    metrics::gauge!("kanal_pool_waiting").set(number(usage.waiting));
    metrics::gauge!("kanal_pool_most").set(number(usage.most));
}

/// Looks once. `shown` has the tenants that have a series, which is set to zero when they hold nothing any more.
///
/// # Errors
/// [`DatabaseError`]; some of the gauges are as they were then.
pub async fn look(db: &Database, shown: &mut HashSet<String>) -> Result<(), DatabaseError> {
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("watch what waits")).await?;
    show_clock(&mut tx).await?;
    let books = [
        (
            Book::Outbox,
            Held::Live,
            "SELECT created_at AS at FROM outbox WHERE parked IS NULL ORDER BY seq",
        ),
        (
            Book::Outbox,
            Held::Parked,
            "SELECT created_at AS at FROM outbox WHERE parked IS NOT NULL ORDER BY seq",
        ),
        (
            Book::Tasks,
            Held::Live,
            "SELECT created_at AS at FROM lane_tasks WHERE NOT parked",
        ),
        (
            Book::Tasks,
            Held::Parked,
            "SELECT created_at AS at FROM lane_tasks WHERE parked",
        ),
    ];
    for (book, held, rows) in books {
        let stock = stock(&mut tx, rows).await?;
        show(book, held, stock.many, stock.oldest_seconds);
    }
    // A lane is late when its turn has come and nobody has it: one in hand is as it should be.
    let due = stock(
        &mut tx,
        "SELECT ready_at AS at FROM lanes WHERE ready_at <= now() \
            AND (leased_until IS NULL OR leased_until < now()) ORDER BY ready_at",
    )
    .await?;
    metrics::gauge!("kanal_lanes_due").set(f64::from(u32::try_from(due.many).unwrap_or(u32::MAX)));
    metrics::gauge!("kanal_lanes_oldest_due_seconds").set(due.oldest_seconds);
    show_tenants(&mut tx, shown).await?;
    tx.commit().await
}

async fn show_clock(tx: &mut PlatformTransaction) -> Result<(), DatabaseError> {
    #[derive(QueryableByName)]
    struct Clock {
        #[diesel(sql_type = Double)]
        seconds: f64,
    }
    let asked = chrono::Utc::now();
    let clock: Clock =
        database::sql("SELECT extract(epoch FROM clock_timestamp())::double precision AS seconds")
            .get_result(tx.connection())
            .await?;
    let answered = chrono::Utc::now();
    let middle = asked + (answered - asked) / 2;
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds since 1970 are below 2^53"
    )]
    let ours = middle.timestamp_micros() as f64 / 1_000_000.0;
    metrics::gauge!("kanal_clock_skew_seconds").set((ours - clock.seconds).abs());
    Ok(())
}

#[derive(QueryableByName)]
struct TenantStock {
    #[diesel(sql_type = Text)]
    tenant_id: String,
    #[diesel(sql_type = BigInt)]
    live: i64,
    #[diesel(sql_type = BigInt)]
    parked: i64,
}

async fn show_tenants(
    tx: &mut PlatformTransaction,
    shown: &mut HashSet<String>,
) -> Result<(), DatabaseError> {
    let stocks: Vec<TenantStock> = database::sql(
        "SELECT tenant_id, count(*) FILTER (WHERE NOT parked) AS live, count(*) FILTER (WHERE parked) AS parked \
         FROM ((SELECT tenant_id, parked FROM lane_tasks WHERE NOT parked LIMIT $1) UNION ALL \
               (SELECT tenant_id, parked FROM lane_tasks WHERE parked LIMIT $1)) counted \
         GROUP BY tenant_id ORDER BY count(*) DESC, tenant_id",
    )
    .bind::<BigInt, _>(COUNTED + 1)
    .load(tx.connection())
    .await?;
    let mut left = std::mem::take(shown);
    let mut other = (0, 0);
    for (place, stock) in stocks.into_iter().enumerate() {
        if place < TENANTS {
            left.remove(&stock.tenant_id);
            show_tenant(&stock.tenant_id, stock.live, stock.parked);
            shown.insert(stock.tenant_id);
        } else {
            other = (other.0 + stock.live, other.1 + stock.parked);
        }
    }
    show_tenant("other", other.0, other.1);
    for tenant in left {
        show_tenant(&tenant, 0, 0);
        // Few are shown at a time, and few are remembered: a series that is forgotten keeps its zero.
        if shown.len() < 10 * TENANTS {
            shown.insert(tenant);
        }
    }
    Ok(())
}

fn show_tenant(tenant: &str, live: i64, parked: i64) {
    for (state, many) in [(Held::Live, live), (Held::Parked, parked)] {
        metrics::gauge!("kanal_tenant_tasks", "tenant" => tenant.to_owned(), "state" => state.as_str())
            .set(f64::from(u32::try_from(many).unwrap_or(u32::MAX)));
    }
}
