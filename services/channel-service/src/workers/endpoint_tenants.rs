//! Shows how many tenants each endpoint was given to.

use std::collections::HashSet;
use std::time::Duration;

use database::{Database, DatabaseError};
use runtime::shutdown::Shutdown;
use tenant_isolation::{PlatformScope, PlatformTransaction};

use crate::endpoints::Endpoints;
use crate::store::tenant_config;

const EVERY: Duration = Duration::from_secs(60);
/// Most endpoints that are shown: those with the most tenants.
const MOST: i64 = 100;

/// Counts at once and then every minute.
pub async fn run(db: Database, endpoints: Endpoints, shutdown: Shutdown) {
    // Also an endpoint that nobody has any more is shown, as one that nobody has.
    let mut shown: HashSet<String> = HashSet::new();
    loop {
        shown.extend(endpoints.names().into_iter().map(String::from));
        if let Err(error) = count(&db, &mut shown).await {
            tracing::warn!(error = %crate::error::chain(&error), "endpoints' tenants could not be counted");
        }
        if !shutdown.sleep(EVERY).await {
            return;
        }
    }
}

async fn count(db: &Database, shown: &mut HashSet<String>) -> Result<(), DatabaseError> {
    let platform = PlatformScope::for_purpose("count tenants of endpoints");
    let mut tx = PlatformTransaction::begin(db, platform).await?;
    let counts = tenant_config::tenants_of_endpoints(&mut tx, MOST).await?;
    tx.commit().await?;
    let (mut unassigned, mut left) = (0, std::mem::take(shown));
    for count in counts {
        // Nobody has more than what a float counts exactly.
        #[expect(clippy::cast_precision_loss, reason = "tenants are fewer than 2^52")]
        let tenants = count.tenants as f64;
        if count.endpoint.is_empty() {
            unassigned = count.tenants;
            metrics::gauge!("kanal_tenants_without_endpoint").set(tenants);
            continue;
        }
        metrics::gauge!("kanal_endpoint_tenants", "endpoint" => count.endpoint.clone()).set(tenants);
        left.remove(&count.endpoint);
        shown.insert(count.endpoint);
    }
    if unassigned == 0 {
        metrics::gauge!("kanal_tenants_without_endpoint").set(0.0);
    }
    for endpoint in left {
        metrics::gauge!("kanal_endpoint_tenants", "endpoint" => endpoint.clone()).set(0.0);
    }
    Ok(())
}
