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
mod tables;
#[path = "../it/world.rs"]
#[expect(dead_code, reason = "tests/it asks for more")]
mod world;

mod audit;
mod browser;
mod chats;
mod deliveries;
mod device;
mod finder;
mod gallery;
mod log_in;
mod page;
mod panel;
mod sink;
mod stage;
mod tenants;
mod village;
