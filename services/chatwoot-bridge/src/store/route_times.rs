//! How routes' events fared over time, by the minute and by the hour.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Double, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// Bounds of the times that are counted, in milliseconds. What took longer than the last one is counted beyond it.
pub const BOUNDS_MS: [i64; 11] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 15_000, 60_000, 300_000, 3_600_000,
];
/// Counts of times, one more than there are bounds.
pub const TIMES: usize = BOUNDS_MS.len() + 1;
/// By the minute, and by the hour.
pub const GRAINS: [i16; 2] = [1, 60];

/// What is counted of one route in one stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fared {
    /// Taken from Chatwoot.
    pub accepted: i64,
    /// Taken by the target.
    pub delivered: i64,
    /// Failures after which it was tried again.
    pub retried: i64,
    /// Put aside, whether or not the target may have it.
    pub parked: i64,
    /// How many were delivered within each bound.
    pub took: [i64; TIMES],
}

impl Fared {
    /// Counts a delivery.
    pub fn delivered_after(&mut self, milliseconds: i64) {
        self.delivered += 1;
        let place = BOUNDS_MS.partition_point(|bound| *bound < milliseconds);
        if let Some(count) = self.took.get_mut(place) {
            *count += 1;
        }
    }

    /// Adds what somebody else counted.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.delivered += other.delivered;
        self.retried += other.retried;
        self.parked += other.parked;
        for (sum, count) in self.took.iter_mut().zip(other.took) {
            *sum += count;
        }
    }

    /// The bound within which this share of deliveries stayed, in milliseconds; none without deliveries.
    #[must_use]
    pub fn within(&self, share: f64) -> Option<i64> {
        let all: i64 = self.took.iter().sum();
        if all == 0 {
            return None;
        }
        let wanted = (all as f64 * share).ceil() as i64;
        let mut seen = 0;
        let place = self.took.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        BOUNDS_MS.get(place).or_else(|| BOUNDS_MS.last()).copied()
    }
}

/// What is counted, of what and when.
#[derive(Debug, Clone)]
pub struct TimesRow {
    /// Whose.
    pub tenant: String,
    /// Our id of the route.
    pub route: Uuid,
    /// Minutes that it is about.
    pub grain: i16,
    /// Where they begin.
    pub at: DateTime<Utc>,
    /// The counts.
    pub fared: Fared,
}

/// Adds to what is there. No two rows may be about the same; whoever sorts them by their key waits for nobody who does so, too.
///
/// # Errors
/// [`DatabaseError`].
pub async fn add(tx: &mut PlatformTransaction, rows: &[TimesRow]) -> Result<(), DatabaseError> {
    let counts = |of: fn(&Fared) -> i64| rows.iter().map(|row| of(&row.fared)).collect::<Vec<_>>();
    let took = |row: &TimesRow| {
        let counts: Vec<String> = row.fared.took.iter().map(ToString::to_string).collect();
        format!("{{{}}}", counts.join(","))
    };
    database::sql(
        "INSERT INTO route_times AS t (tenant_id, route_id, grain, at, accepted, delivered, retried, parked, took) \
         SELECT n.tenant_id, n.route_id, n.grain, n.at, n.accepted, n.delivered, n.retried, n.parked, n.took::bigint[] \
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9) WITH ORDINALITY \
             AS n (tenant_id, route_id, grain, at, accepted, delivered, retried, parked, took, place) \
         WHERE NOT EXISTS (SELECT FROM erasures e \
             WHERE e.tenant_id = n.tenant_id AND e.who = '' AND e.erased_at >= n.at) ORDER BY n.place \
         ON CONFLICT (tenant_id, route_id, grain, at) DO UPDATE SET accepted = t.accepted + excluded.accepted, \
             delivered = t.delivered + excluded.delivered, retried = t.retried + excluded.retried, \
             parked = t.parked + excluded.parked, \
             took = ARRAY(SELECT coalesce(a.n, 0) + coalesce(b.n, 0) FROM unnest(t.took) WITH ORDINALITY AS a (n, place) \
                    FULL JOIN unnest(excluded.took) WITH ORDINALITY AS b (n, place) USING (place) ORDER BY place)",
    )
    .bind::<Array<Text>, _>(rows.iter().map(|row| row.tenant.as_str()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(rows.iter().map(|row| row.route).collect::<Vec<_>>())
    .bind::<Array<SmallInt>, _>(rows.iter().map(|row| row.grain).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(rows.iter().map(|row| row.at).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(counts(|fared| fared.accepted))
    .bind::<Array<BigInt>, _>(counts(|fared| fared.delivered))
    .bind::<Array<BigInt>, _>(counts(|fared| fared.retried))
    .bind::<Array<BigInt>, _>(counts(|fared| fared.parked))
    .bind::<Array<Text>, _>(rows.iter().map(took).collect::<Vec<_>>())
    .execute(tx.connection())
    .await?;
    Ok(())
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Timestamptz)]
    at: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    accepted: i64,
    #[diesel(sql_type = BigInt)]
    delivered: i64,
    #[diesel(sql_type = BigInt)]
    retried: i64,
    #[diesel(sql_type = BigInt)]
    parked: i64,
    #[diesel(sql_type = Array<BigInt>)]
    took: Vec<i64>,
}

impl Row {
    fn fared(&self) -> Fared {
        let mut took = [0; TIMES];
        for (place, count) in took.iter_mut().zip(&self.took) {
            *place = *count;
        }
        Fared {
            accepted: self.accepted,
            delivered: self.delivered,
            retried: self.retried,
            parked: self.parked,
            took,
        }
    }
}

/// How a route's events fared since then, in order; stretches in which nothing happened are left out.
///
/// # Errors
/// [`DatabaseError`].
pub async fn of_route(
    tx: &mut TenantTransaction,
    route: Uuid,
    grain: i16,
    since: DateTime<Utc>,
) -> Result<Vec<(DateTime<Utc>, Fared)>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<Row> = database::sql(
        "SELECT at, accepted, delivered, retried, parked, took FROM route_times \
         WHERE tenant_id = $1 AND route_id = $2 AND grain = $3 AND at >= $4 ORDER BY at",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(route)
    .bind::<SmallInt, _>(grain)
    .bind::<Timestamptz, _>(since)
    .load(tx.connection())
    .await?;
    Ok(rows.iter().map(|row| (row.at, row.fared())).collect())
}

/// A route whose target takes nothing.
#[derive(Debug, Clone, QueryableByName)]
pub struct HangingRoute {
    /// Its number.
    #[diesel(sql_type = BigInt)]
    pub number: i64,
    /// What people call it.
    #[diesel(sql_type = diesel::sql_types::Nullable<Text>)]
    pub name: Option<String>,
    /// Failures of the last minutes.
    #[diesel(sql_type = BigInt)]
    pub retried: i64,
}

/// Routes whose targets have failed within the last minutes and taken nothing meanwhile; those with most failures first.
///
/// # Errors
/// [`DatabaseError`].
pub async fn hanging(
    tx: &mut PlatformTransaction,
    minutes: f64,
    most: i64,
) -> Result<Vec<HangingRoute>, DatabaseError> {
    Ok(database::sql(
        "SELECT r.number, r.name, h.retried FROM \
            (SELECT tenant_id, route_id, sum(retried)::bigint AS retried FROM route_times \
              WHERE grain = 1 AND at >= now() - $1 * interval '1 minute' GROUP BY tenant_id, route_id \
              HAVING sum(retried) > 0 AND sum(delivered) = 0 ORDER BY 3 DESC LIMIT $2) h \
         JOIN routes r ON r.tenant_id = h.tenant_id AND r.id = h.route_id ORDER BY h.retried DESC, r.number",
    )
    .bind::<Double, _>(minutes)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?)
}

/// Forgets up to `most` rows of a grain, of whatever tenants, that are older than `days`. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_old(
    tx: &mut PlatformTransaction,
    grain: i16,
    days: f64,
    most: i64,
) -> Result<usize, DatabaseError> {
    Ok(database::sql(
        "DELETE FROM route_times t USING (SELECT tenant_id, route_id, at FROM route_times \
              WHERE grain = $1 AND at < now() - $2 * interval '1 day' ORDER BY at LIMIT $3) old \
         WHERE t.tenant_id = old.tenant_id AND t.route_id = old.route_id AND t.grain = $1 AND t.at = old.at",
    )
    .bind::<SmallInt, _>(grain)
    .bind::<Double, _>(days)
    .bind::<BigInt, _>(most)
    .execute(tx.connection())
    .await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_by_their_bounds_and_added_up() {
        let mut fared = Fared::default();
        for milliseconds in [1, 50, 51, 4_000_000] {
            fared.delivered_after(milliseconds);
        }
        assert_eq!((fared.delivered, fared.took[0], fared.took[1]), (4, 2, 1));
        assert_eq!(fared.took[TIMES - 1], 1);
        assert_eq!((fared.within(0.5), fared.within(0.75)), (Some(50), Some(100)));
        assert_eq!(fared.within(1.0), Some(3_600_000));
        assert_eq!(Fared::default().within(0.5), None);
        let before = fared;
        fared.add(&before);
        assert_eq!((fared.delivered, fared.took[0]), (8, 4));
    }
}
