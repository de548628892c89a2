//! An orderly end: stop taking, finish what is in hand, and say so loudly when that takes too long.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The time from the first word of the end in which a process finishes what is in hand, all of it together.
pub const GRACE: Duration = Duration::from_secs(10);

/// Handed to everything that runs for long. Cheap to clone; every clone speaks of the same end.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
    begun_at: Arc<OnceLock<Instant>>,
}

impl Shutdown {
    /// A process that has just begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everybody to finish.
    pub fn begin(&self) {
        self.begun_at.get_or_init(Instant::now);
        self.token.cancel();
    }

    /// What is left of `grace`, which began with the end. All of it while there is no end.
    #[must_use]
    pub fn left_of(&self, grace: Duration) -> Duration {
        let gone = self.begun_at.get().map_or(Duration::ZERO, Instant::elapsed);
        grace.saturating_sub(gone)
    }

    /// Has the end begun?
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.token.is_cancelled()
    }

    /// The bare signal, for crates that know nothing of processes.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Waits until the end begins.
    pub async fn begun(&self) {
        self.token.cancelled().await;
    }

    /// Starts a task that the end will wait for. A panic in it ends the process's work too: a service that lost a
    /// worker must not look healthy.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let ended = self.clone();
        self.tasks.spawn(async move {
            if let Err(error) = tokio::spawn(task).await {
                tracing::error!(
                    task = name,
                    panicked = error.is_panic(),
                    "a task died, the process ends"
                );
                ended.begin();
            }
        });
    }

    /// Waits for every task, at most `grace`. False when some did not finish.
    pub async fn finished_within(&self, grace: Duration) -> bool {
        self.tasks.close();
        let finished = tokio::time::timeout(grace, self.tasks.wait()).await.is_ok();
        if !finished {
            tracing::warn!(
                left = self.tasks.len(),
                "work was still in hand when the grace period ended"
            );
        }
        finished
    }

    /// Sleeps, but not into the end. True when the whole time passed.
    pub async fn sleep(&self, time: Duration) -> bool {
        tokio::select! {
            () = self.token.cancelled() => false,
            () = tokio::time::sleep(time) => true,
        }
    }

    /// Begins the end when the process is asked to stop (SIGTERM, or SIGINT from a terminal).
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => tracing::info!("asked to stop by SIGTERM"),
                _ = interrupt.recv() => tracing::info!("asked to stop by SIGINT"),
                () = shutdown.begun() => {}
            }
            shutdown.begin();
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_waits_for_work_in_hand() {
        let shutdown = Shutdown::new();
        let (done, finished) = tokio::sync::oneshot::channel();
        let inner = shutdown.clone();
        shutdown.spawn("work", async move {
            inner.begun().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            done.send(()).unwrap();
        });
        shutdown.begin();
        assert!(shutdown.finished_within(Duration::from_secs(5)).await);
        finished.await.unwrap();
    }

    #[test]
    fn grace_begins_with_the_end_and_only_once() {
        let (shutdown, grace) = (Shutdown::new(), Duration::from_secs(3_600));
        assert_eq!(shutdown.left_of(grace), grace);
        shutdown.begin();
        let left = shutdown.left_of(grace);
        std::thread::sleep(Duration::from_millis(5));
        shutdown.clone().begin();
        assert!(shutdown.left_of(grace) < left);
        assert_eq!(shutdown.left_of(Duration::from_millis(5)), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_task_that_will_not_end_is_reported() {
        let shutdown = Shutdown::new();
        shutdown.spawn("stuck", std::future::pending());
        shutdown.begin();
        assert!(!shutdown.finished_within(Duration::from_millis(20)).await);
    }

    #[tokio::test]
    async fn a_panicking_task_ends_the_process() {
        let shutdown = Shutdown::new();
        shutdown.spawn("broken", async { panic!("on purpose") });
        tokio::time::timeout(Duration::from_secs(5), shutdown.begun())
            .await
            .unwrap();
    }
}
