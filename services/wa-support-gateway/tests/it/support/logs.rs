//! Everything the service logs while the tests run, kept so that tests can look for what must not be there.

use std::io;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use tracing_subscriber::EnvFilter;
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

/// Starts keeping. One subscriber for the whole process, because the server's threads are its own; tests look for words
/// that are theirs alone. Chattier than in production, but for the driver of Postgres, which tells what is bound to
/// statements and is held back there at every level.
pub(crate) fn keep() {
    STARTED.call_once(|| {
        let filter = EnvFilter::new("debug,h2=info,hyper_util=info,mio=info,tokio_postgres=info");
        let lines = tracing_subscriber::fmt::layer().json().with_writer(Keep);
        tracing_subscriber::registry().with(filter).with(lines).init();
    });
}

/// The lines that hold these words. Copied out first: whoever logs waits while the logs are looked at.
pub(crate) fn lines_with(words: &str) -> Vec<String> {
    let all = String::from_utf8_lossy(&kept().clone()).into_owned();
    all.lines()
        .filter(|line| line.contains(words))
        .map(str::to_owned)
        .collect()
}

fn kept() -> MutexGuard<'static, Vec<u8>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}
