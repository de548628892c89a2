//! Writes down what requests have charged and counted, to the last of them.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::flows::quota::QuotaWork;
use crate::flows::usage::Usage;

/// How often sends are counted: what a process that is killed loses at most.
const EVERY: Duration = Duration::from_secs(1);
/// What the last numbers may take at the end, within the process's grace.
const LAST_WORDS: Duration = Duration::from_millis(1500);

/// The work beside the requests, under way.
#[derive(Debug)]
pub(crate) struct TrafficWork {
    served: CancellationToken,
    usage: Usage,
    tasks: Vec<JoinHandle<()>>,
}

impl TrafficWork {
    pub(crate) fn start(quota: QuotaWork, usage: Usage) -> Self {
        let served = CancellationToken::new();
        let counting = {
            let (served, usage) = (served.clone(), usage.clone());
            async move {
                loop {
                    tokio::select! {
                        () = served.cancelled() => return,
                        () = tokio::time::sleep(EVERY) => {}
                    }
                    usage.flush().await;
                }
            }
        };
        let tasks = vec![tokio::spawn(quota.run(served.clone())), tokio::spawn(counting)];
        Self { served, usage, tasks }
    }

    /// No request is left: what is still owed and counted is written down, and nothing runs any more.
    pub(crate) async fn finish(self) {
        self.served.cancel();
        let ending = async {
            for task in self.tasks {
                if task.await.is_err() {
                    tracing::error!("the work beside the requests died");
                }
            }
            self.usage.flush().await
        };
        if !tokio::time::timeout(LAST_WORDS, ending).await.unwrap_or(false) {
            tracing::error!("the last sends were not counted");
        }
    }
}
