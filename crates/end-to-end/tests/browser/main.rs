//! The pages, as people use them: a real Chromium in front of the whole system, as in `tests/it`.
//!
//! `make test-browser` installs what is needed and runs these. Where there is no Chromium they say so and pass, unless
//! `BROWSER_TESTS=required`; `BROWSER_TESTS=off` leaves them out. `make screenshots` keeps a picture of every page.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests fail by panicking, and say when they are skipped"
)]

#[path = "../it/broker.rs"]
mod broker;
#[path = "../it/tables.rs"]
#[expect(dead_code, reason = "tests/it asks for more")]
mod tables;
#[path = "../it/world.rs"]
#[expect(dead_code, reason = "tests/it asks for more")]
mod world;

mod audit;
mod browser;
mod finder;
mod gallery;
mod log_in;
#[expect(dead_code, reason = "more pages are to come")]
mod page;
mod panel;
mod stage;
