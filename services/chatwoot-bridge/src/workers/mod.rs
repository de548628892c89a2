//! What runs beside the HTTP server.

mod alone;
pub mod channel;
pub mod drift;
pub mod events;
pub mod forward;
pub mod forward_committer;
pub mod forward_retention;
pub mod history;
pub mod lanes;
pub mod ledger;
pub mod notices;
pub mod reconcile;
pub mod replays;
pub mod retention;
pub mod watch;
