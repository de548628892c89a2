//! Takes back sessions that were begun and never finished, and removes devices that could not be removed at once.

use std::sync::Arc;
use std::time::Duration;

use runtime::shutdown::Shutdown;

use crate::flows::session::Sessions;

const EVERY: Duration = Duration::from_secs(60);
/// Longer than anybody works on one, with time to try again by hand.
const LEFT_BEHIND: Duration = Duration::from_secs(10 * 60);
/// How long a removal that did not succeed is left alone.
const AGAIN: Duration = Duration::from_secs(50);

/// Looks at once and then every minute.
pub async fn run(sessions: Arc<Sessions>, shutdown: Shutdown) {
    loop {
        if let Err(error) = sessions.sweep(LEFT_BEHIND).await {
            tracing::warn!(error = %crate::error::chain(&error), "begun sessions could not be looked for");
        }
        if let Err(error) = sessions.sweep_devices(AGAIN).await {
            tracing::warn!(error = %crate::error::chain(&error), "devices to remove could not be looked for");
        }
        if !shutdown.sleep(EVERY).await {
            return;
        }
    }
}
