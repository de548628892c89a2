//! The tables, a file per noun. Functions take the transaction, and with it the scope, first.

pub mod agent_files;
pub mod agent_messages;
pub mod agent_parts;
pub mod contacts;
pub mod handled_events;
pub mod inbound_rules;
pub mod inboxes;
pub mod installations;
pub mod message_links;
pub mod outbound_options;
pub mod place_locks;
pub mod quarantine;
pub mod routes;
pub mod unrouted_inboxes;
