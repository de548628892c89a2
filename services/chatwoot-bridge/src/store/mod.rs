//! The tables, a file per noun. Functions take the transaction, and with it the scope, first.

pub mod agent_messages;
pub mod contacts;
pub mod handled_events;
pub mod history_jobs;
pub mod inboxes;
pub mod installations;
pub mod message_links;
pub mod notices;
pub mod quarantine;
pub mod reconcile_marks;
pub mod routes;
pub mod unrouted_inboxes;
