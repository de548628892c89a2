//! The gate: accounts of any provider, spoken to as if they were numbers of Meta's Cloud API.
//!
//! | file | what it does |
//! |---|---|
//! | `ids` | ids of messages, files and people as clients see them |
//! | `token` | who may use it |
//! | `send` | an order to send becomes a message in its chat's lane |
//! | `uploads` | files that clients put up |
//! | `files` | how clients name files, and how these go out |
//! | `subscription` | where a tenant wants to be told |
//! | `subscribers` | which tenants are told anything at all |
//! | `envelope`, `content` | what is told, in Meta's words |
//! | `deliver` | telling it, in order, until it is taken or given up |

mod content;
pub mod deliver;
mod envelope;
pub mod files;
pub mod ids;
pub mod receivers;
pub mod refusal;
pub mod send;
pub mod subscribers;
pub mod subscription;
pub mod token;
pub mod uploads;

pub use refusal::{GateError, Refusal};
