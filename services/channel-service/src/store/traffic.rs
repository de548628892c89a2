//! `traffic` and `traffic_overall`: how many messages went which way, by time.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Array, BigInt, Integer, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tenant_isolation::{PlatformTransaction, TenantTransaction};

use crate::traffic::{Counts, Minute};

/// The length of time that a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grain {
    /// Kept for somewhat more than a day.
    Minute,
    /// Kept for somewhat more than a month.
    Hour,
}

impl Grain {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Minute, Self::Hour];

    /// In seconds.
    #[must_use]
    pub const fn seconds(self) -> i32 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }

    /// Hours for which it is kept.
    #[must_use]
    pub const fn kept_hours(self) -> i32 {
        match self {
            Self::Minute => 26,
            Self::Hour => 33 * 24,
        }
    }
}

/// The numbers of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrafficRow {
    /// When its time began.
    pub at: DateTime<Utc>,
    /// The numbers.
    pub counts: Counts,
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = Timestamptz)]
    at: DateTime<Utc>,
    #[diesel(sql_type = Array<BigInt>)]
    numbers: Vec<i64>,
    #[diesel(sql_type = Array<BigInt>)]
    latency: Vec<i64>,
}

impl Row {
    fn read(self) -> TrafficRow {
        let number = |of: i64| u64::try_from(of).unwrap_or(0);
        let latency: Vec<u64> = self.latency.into_iter().map(number).collect();
        let mut numbers = [0; 7];
        for (into, of) in numbers.iter_mut().zip(self.numbers) {
            *into = number(of);
        }
        TrafficRow {
            at: self.at,
            counts: Counts::new(numbers, &latency),
        }
    }
}

/// Adds what was counted to what is there, for the tenants' own minutes and hours or for those of all. What was counted for
/// somebody who is no tenant any more is left out.
///
/// # Errors
/// [`DatabaseError`]; nothing was added then, unless nobody can tell whether it was committed.
pub async fn add(tx: &mut PlatformTransaction, minutes: &[Minute]) -> Result<(), DatabaseError> {
    let (own, all): (Vec<&Minute>, Vec<&Minute>) = minutes.iter().partition(|one| one.tenant.is_some());
    let (own, all) = (sums(&own), sums(&all));
    if !own.is_empty() {
        add_to(
            tx.connection(),
            "INSERT INTO traffic AS t (tenant_id, grain, at, received, sent, delivered, read, failed, parked, unknown, latency) \
             SELECT n.tenant_id, n.grain, to_timestamp(n.at), n.received, n.sent, n.delivered, n.read, n.failed, n.parked, \
                    n.unknown, n.latency::bigint[] \
             FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) AS n \
                 (tenant_id, grain, at, received, sent, delivered, read, failed, parked, unknown, latency) \
             JOIN tenants USING (tenant_id) ORDER BY n.tenant_id, n.grain, n.at \
             ON CONFLICT (tenant_id, grain, at) DO UPDATE SET ",
            &own,
        )
        .await?;
    }
    if !all.is_empty() {
        add_to(
            tx.connection(),
            "INSERT INTO traffic_overall AS t (grain, at, received, sent, delivered, read, failed, parked, unknown, latency) \
             SELECT n.grain, to_timestamp(n.at), n.received, n.sent, n.delivered, n.read, n.failed, n.parked, n.unknown, \
                    n.latency::bigint[] \
             FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) AS n \
                 (tenant_id, grain, at, received, sent, delivered, read, failed, parked, unknown, latency) \
             ORDER BY n.grain, n.at \
             ON CONFLICT (grain, at) DO UPDATE SET ",
            &all,
        )
        .await?;
    }
    Ok(())
}

/// Rows by tenant, grain and time, in the order in which every process changes them: two wait for each other and never in a
/// ring.
type Sums = BTreeMap<(String, i32, i64), Counts>;

fn sums(minutes: &[&Minute]) -> Sums {
    let mut sums = Sums::new();
    for one in minutes {
        let tenant = one.tenant.as_ref().map(ToString::to_string).unwrap_or_default();
        for grain in Grain::ALL {
            let seconds = i64::from(grain.seconds());
            let at = (one.minute * 60).div_euclid(seconds) * seconds;
            let key = (tenant.clone(), grain.seconds(), at);
            sums.entry(key).or_default().add(&one.counts);
        }
    }
    sums
}

async fn add_to(
    connection: &mut AsyncPgConnection,
    insert: &'static str,
    sums: &Sums,
) -> Result<(), DatabaseError> {
    const ADDED: &str = "received = t.received + excluded.received, sent = t.sent + excluded.sent, \
         delivered = t.delivered + excluded.delivered, read = t.read + excluded.read, \
         failed = t.failed + excluded.failed, parked = t.parked + excluded.parked, \
         unknown = t.unknown + excluded.unknown, \
         latency = (SELECT array_agg(coalesce(a, 0) + coalesce(b, 0) ORDER BY class) \
                    FROM unnest(t.latency, excluded.latency) WITH ORDINALITY AS both_of (a, b, class))";
    let number = |which: usize| -> Vec<i64> {
        let of = sums.values().map(|counts| counts.numbers()[which]);
        of.map(|number| i64::try_from(number).unwrap_or(i64::MAX))
            .collect()
    };
    // An array of arrays would have to be cut again.
    let latency = |counts: &Counts| {
        let classes: Vec<String> = counts.latency().iter().map(u64::to_string).collect();
        format!("{{{}}}", classes.join(","))
    };
    database::sql(format!("{insert}{ADDED}"))
        .bind::<Array<Text>, _>(
            sums.keys()
                .map(|(tenant, ..)| tenant.as_str())
                .collect::<Vec<_>>(),
        )
        .bind::<Array<Integer>, _>(sums.keys().map(|(_, grain, _)| *grain).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(sums.keys().map(|(.., at)| *at).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(number(0))
        .bind::<Array<BigInt>, _>(number(1))
        .bind::<Array<BigInt>, _>(number(2))
        .bind::<Array<BigInt>, _>(number(3))
        .bind::<Array<BigInt>, _>(number(4))
        .bind::<Array<BigInt>, _>(number(5))
        .bind::<Array<BigInt>, _>(number(6))
        .bind::<Array<Text>, _>(sums.values().map(latency).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Most rows of one plot.
const MOST: i64 = 3_000;

/// The tenant's numbers from one moment on, and the last row before it, which tells that it was counted then. The oldest first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn of_tenant(
    tx: &mut TenantTransaction,
    grain: Grain,
    from: DateTime<Utc>,
) -> Result<Vec<TrafficRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let rows: Vec<Row> = database::sql(
        "(SELECT at, ARRAY[received, sent, delivered, read, failed, parked, unknown] AS numbers, latency FROM traffic \
          WHERE tenant_id = $1 AND grain = $2 AND at < $3 ORDER BY at DESC LIMIT 1) UNION ALL \
         (SELECT at, ARRAY[received, sent, delivered, read, failed, parked, unknown] AS numbers, latency FROM traffic \
          WHERE tenant_id = $1 AND grain = $2 AND at >= $3 ORDER BY at LIMIT $4)",
    )
    .bind::<Text, _>(tenant)
    .bind::<Integer, _>(grain.seconds())
    .bind::<Timestamptz, _>(from)
    .bind::<BigInt, _>(MOST)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().map(Row::read).collect())
}

/// Everybody's numbers together, as [`of_tenant`].
///
/// # Errors
/// [`DatabaseError`].
pub async fn overall(
    tx: &mut PlatformTransaction,
    grain: Grain,
    from: DateTime<Utc>,
) -> Result<Vec<TrafficRow>, DatabaseError> {
    let rows: Vec<Row> = database::sql(
        "(SELECT at, ARRAY[received, sent, delivered, read, failed, parked, unknown] AS numbers, latency \
          FROM traffic_overall WHERE grain = $1 AND at < $2 ORDER BY at DESC LIMIT 1) UNION ALL \
         (SELECT at, ARRAY[received, sent, delivered, read, failed, parked, unknown] AS numbers, latency \
          FROM traffic_overall WHERE grain = $1 AND at >= $2 ORDER BY at LIMIT $3)",
    )
    .bind::<Integer, _>(grain.seconds())
    .bind::<Timestamptz, _>(from)
    .bind::<BigInt, _>(MOST)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().map(Row::read).collect())
}

/// Deletes up to `batch` rows whose time is over. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn trim(tx: &mut PlatformTransaction, grain: Grain, batch: i64) -> Result<usize, DatabaseError> {
    database::sql("DELETE FROM traffic_overall WHERE grain = $1 AND at < now() - make_interval(hours => $2)")
        .bind::<Integer, _>(grain.seconds())
        .bind::<Integer, _>(grain.kept_hours())
        .execute(tx.connection())
        .await?;
    let deleted = database::sql(
        "DELETE FROM traffic WHERE ctid IN (SELECT ctid FROM traffic \
            WHERE grain = $1 AND at < now() - make_interval(hours => $2) LIMIT $3)",
    )
    .bind::<Integer, _>(grain.seconds())
    .bind::<Integer, _>(grain.kept_hours())
    .bind::<BigInt, _>(batch)
    .execute(tx.connection())
    .await?;
    Ok(deleted)
}
