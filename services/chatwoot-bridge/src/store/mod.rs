//! The tables, a file per noun. Functions take the transaction, and with it the scope, first.

pub mod agent_files;
pub mod agent_messages;
pub mod agent_parts;
pub mod contact_pictures;
pub mod contacts;
pub mod deliveries;
pub mod drift_reports;
pub mod erasures;
pub mod forward_counts;
pub mod forward_done;
pub mod forward_events;
pub mod forward_lanes;
pub mod forward_seen;
pub mod forward_steps;
pub mod handled_events;
pub mod history_jobs;
pub mod inbound_rules;
pub mod inboxes;
pub mod installations;
pub mod message_links;
pub mod message_search;
pub mod notices;
pub mod original;
pub mod outbound_options;
pub mod people;
pub mod place_locks;
pub mod probes;
pub mod quarantine;
pub mod reconcile_marks;
pub mod replay_jobs;
pub mod route_search;
pub mod route_times;
pub mod routes;
pub mod sealed;
pub mod tenant_data;
pub mod unrouted_inboxes;

/// Acts are noted in the same way by every service.
pub use ::audit_log;
