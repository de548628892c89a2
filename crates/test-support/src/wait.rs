//! Waiting for what happens by itself.

use std::future::Future;
use std::time::{Duration, Instant};

/// Asks again and again until `probe` has an answer; at most a minute, which is long enough for a busy machine.
///
/// # Panics
/// When it never has one.
pub async fn eventually<T, F>(what: &str, probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    eventually_within(Duration::from_secs(60), what, probe).await
}

/// As [`eventually`], with another patience.
///
/// # Panics
/// When there is no answer in time.
pub async fn eventually_within<T, F>(patience: Duration, what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let started = Instant::now();
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(
            started.elapsed() < patience,
            "did not happen within {patience:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
