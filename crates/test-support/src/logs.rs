//! Everything that is logged while the tests of a process run, kept so that tests can look for what must not be there.
//!
//! One subscriber for the whole process, because servers have threads of their own: of other tests it keeps what they log
//! meanwhile, so tests look for words that are theirs alone.

use std::io;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use memchr::memmem;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Chattier than in production, for libraries too, but for the driver of Postgres, which tells what is bound to statements and
/// is held back there at every level.
const CHATTY: &str = "debug,h2=info,hyper_util=info,mio=info,tokio_postgres=info";

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
pub struct Mark(usize);

/// Starts keeping, and tells how much is kept already.
pub fn keep() -> Mark {
    start(CHATTY)
}

/// As [`keep`], at every level, but of these crates only. Whoever is the first in a process to keep anything decides.
pub fn keep_of(crates: &[&str]) -> Mark {
    let directives: Vec<String> = crates.iter().map(|name| format!("{name}=trace")).collect();
    start(&directives.join(","))
}

fn start(filter: &str) -> Mark {
    STARTED.call_once(|| {
        let filter: Targets = filter.parse().expect("our own directives");
        let lines = tracing_subscriber::fmt::layer().json().with_writer(Keep);
        tracing_subscriber::registry().with(filter).with(lines).init();
    });
    Mark(kept().len())
}

impl Mark {
    /// Everything that was logged since.
    #[must_use]
    pub fn since(self) -> String {
        String::from_utf8_lossy(&kept()[self.0..]).into_owned()
    }

    /// The lines since then that hold these words. Copied out first: whoever logs waits while the logs are looked at, and all
    /// tests of a process log to the same place.
    #[must_use]
    pub fn lines_with(self, words: &str) -> Vec<String> {
        let since = kept()[self.0..].to_vec();
        lines_of(&since, words)
    }
}

/// Does any line hold these words?
#[must_use]
pub fn hold(words: &str) -> bool {
    memmem::find(&kept(), words.as_bytes()).is_some()
}

/// The lines that hold these words.
#[must_use]
pub fn lines_with(words: &str) -> Vec<String> {
    lines_of(&kept(), words)
}

fn kept() -> MutexGuard<'static, Vec<u8>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lines_of(logs: &[u8], words: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut from = 0;
    while let Some(at) = memmem::find(&logs[from..], words.as_bytes()) {
        let at = from + at;
        let begin = memchr::memrchr(b'\n', &logs[..at]).map_or(0, |end| end + 1);
        let end = memchr::memchr(b'\n', &logs[at..]).map_or(logs.len(), |length| at + length);
        // Lines are whole and are UTF-8; what is not would be shown as a mark and hide nothing.
        lines.push(String::from_utf8_lossy(&logs[begin..end]).into_owned());
        from = end;
    }
    lines
}
