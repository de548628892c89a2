//! Takes back sessions that were begun and never finished.

use std::sync::Arc;
use std::time::Duration;

use runtime::shutdown::Shutdown;

use crate::flows::session::Sessions;

const EVERY: Duration = Duration::from_secs(60);
/// Longer than anybody works on one, with time to try again by hand.
const LEFT_BEHIND: Duration = Duration::from_secs(10 * 60);

/// Looks at once and then every minute.
pub async fn run(sessions: Arc<Sessions>, shutdown: Shutdown) {
    loop {
        if let Err(error) = sessions.sweep(LEFT_BEHIND).await {
            tracing::warn!(error = %crate::error::chain(&error), "begun sessions could not be looked for");
        }
        if !shutdown.sleep(EVERY).await {
            return;
        }
    }
}
