//! What the tests of whole processes stand on: the services' executables, built from what is in the tree, and
//! child processes with nothing in their environment but what a test gives them.
//!
//! The tests are in `tests/it`. They meet the services as an operator and the outside world do (commands, HTTP,
//! signals), so nothing here or there links a service.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot be set up has to fail loudly, and says what it does meanwhile"
)]

mod binaries;
mod port;
mod process;

pub use binaries::{SERVICES, binary};
pub use port::free_port;
pub use process::Process;
