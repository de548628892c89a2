//! What the bridge logs while the tests run, kept so that tests can look for what must not be there.

use std::io;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static STARTED: Once = Once::new();

struct Keep;

impl io::Write for Keep {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        kept().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Keep {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

/// A moment in the logs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(usize);

/// Starts keeping. For the whole process, because the server has threads of its own; of the other tests it keeps what they
/// log meanwhile.
pub(crate) fn keep() -> Mark {
    STARTED.call_once(|| {
        let ours = ["chatwoot_bridge", "chores", "messaging", "web"];
        let ours = Targets::new().with_targets(ours.map(|name| (name, LevelFilter::TRACE)));
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(Keep);
        tracing_subscriber::registry()
            .with(layer.with_filter(ours))
            .init();
    });
    Mark(kept().len())
}

impl Mark {
    /// Everything that was logged since.
    pub(crate) fn since(self) -> String {
        String::from_utf8_lossy(&kept()[self.0..]).into_owned()
    }
}

fn kept() -> MutexGuard<'static, Vec<u8>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}
