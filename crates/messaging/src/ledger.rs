//! What was accepted and what became of it, for the equation that must always hold:
//! accepted = delivered + expired + live + parked.
//!
//! The first three are counters of each process, counted when the transaction is committed; the last two are read from the
//! tables by [`watch`](crate::watch). Whoever compares them sees a message that vanished without a word. What a process counted
//! between the last reading of its metrics and its death is lost to the counters, and to nothing else.

use tenant_isolation::Transaction;

/// Which of the tables is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Book {
    /// Events for the broker.
    Outbox,
    /// Work in lanes.
    Tasks,
    /// Events for the URLs of chatwoot-bridge's routes.
    Forwards,
}

impl Book {
    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outbox => "outbox",
            Self::Tasks => "tasks",
            Self::Forwards => "forwards",
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is durable here.
    Accepted,
    /// It is done, or durable elsewhere.
    Delivered,
    /// It was given up aloud: too old, discarded by somebody, or what it was about is gone.
    Expired,
}

impl Step {
    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Delivered => "delivered",
            Self::Expired => "expired",
        }
    }
}

/// Counts so many when the transaction is committed.
pub fn note<S>(tx: &mut Transaction<S>, book: Book, step: Step, many: usize) {
    if many > 0 {
        tx.when_committed(move || count(book, step, many));
    }
}

/// Counts rows of a table that were deleted because what they are about is gone: as expired where the table is a book's, and
/// else not at all.
pub fn note_deleted<S>(tx: &mut Transaction<S>, table: &str, rows: usize) {
    let books = [
        ("outbox", Book::Outbox),
        ("lane_tasks", Book::Tasks),
        ("forward_events", Book::Forwards),
    ];
    if let Some((_, book)) = books.into_iter().find(|(of, _)| *of == table) {
        note(tx, book, Step::Expired, rows);
    }
}

/// Counts so many that are committed.
pub fn count(book: Book, step: Step, many: usize) {
    metrics::counter!("kanal_ledger_total", "book" => book.as_str(), "step" => step.as_str())
        .increment(u64::try_from(many).unwrap_or(u64::MAX));
}

/// Begins a book at zero: a counter that appears with its first event shows no growth to whoever compares it with before.
pub fn begin(book: Book) {
    for step in [Step::Accepted, Step::Delivered, Step::Expired] {
        count(book, step, 0);
    }
}

/// What is there and not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It goes on by itself.
    Live,
    /// It waits for people.
    Parked,
}

impl Held {
    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Parked => "parked",
        }
    }
}

/// Shows how many are there, and how long the oldest of them has been, as counted up to a bound.
pub fn show(book: Book, held: Held, many: i64, oldest_seconds: f64) {
    let many = u32::try_from(many).unwrap_or(u32::MAX);
    metrics::gauge!("kanal_ledger_held", "book" => book.as_str(), "state" => held.as_str())
        .set(f64::from(many));
    metrics::gauge!("kanal_ledger_oldest_seconds", "book" => book.as_str(), "state" => held.as_str())
        .set(oldest_seconds);
}
