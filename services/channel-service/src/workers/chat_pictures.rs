//! Looks at the pictures of people who wrote: so many a minute, a few at a time.

use std::sync::Arc;
use std::time::Duration;

use runtime::shutdown::Shutdown;
use tokio::sync::{Semaphore, mpsc};

use crate::flows::chat_picture::{PictureLooks, Wish};

/// Looks at once: a provider that hangs holds up the pictures of the others no longer than that.
const AT_ONCE: usize = 4;
/// The pause after a wish that asked nobody.
const BREATH: Duration = Duration::from_millis(10);

/// Runs until the service stops. A look that is cut off then is begun again by the person's next message.
pub async fn run(looks: Arc<PictureLooks>, mut wishes: mpsc::Receiver<Wish>, shutdown: Shutdown) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let pause = Duration::from_secs(60) / looks.settings.per_minute.get();
    let mut under_way = tokio::task::JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((place, wishes.recv().await?))
        };
        let next = tokio::select! {
            next = next => next,
            () = shutdown.begun() => None,
        };
        let Some((place, wish)) = next else { return };
        while under_way.try_join_next().is_some() {}
        let wait = match looks.begin(wish).await {
            Ok(Some(begun)) => {
                let looks = Arc::clone(&looks);
                under_way.spawn(async move {
                    if let Err(error) = looks.look(begun).await {
                        tracing::warn!(error = %crate::error::chain(&error), "a profile picture was not written down");
                    }
                    drop(place);
                });
                pause
            }
            Ok(None) => BREATH,
            Err(error) => {
                tracing::warn!(error = %crate::error::chain(&error), "a profile picture was not looked at");
                pause
            }
        };
        if !shutdown.sleep(wait).await {
            return;
        }
    }
}
