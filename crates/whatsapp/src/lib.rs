//! WhatsApp providers: reading their webhooks and sending through them.
//!
//! An adapter translates, it does not decide. Inbound, every provider turns bytes into an [`event::InboundEvent`] in
//! typed steps (unverified, verified, parsed) that cannot be skipped. Outbound, every provider implements
//! [`port::SendMessage`], and [`session::ManageSession`] where its sessions can be connected and paired. A provider's field names live in its own `wire` module and nowhere else.

mod answer;
pub mod base64_stream;
pub mod cloud;
pub mod courtesy;
pub mod credentials;
pub mod download;
pub mod dry_run;
pub mod error;
pub mod event;
pub mod genfity;
pub mod gowa;
mod loose;
pub mod picture;
mod place;
pub mod port;
pub mod probe;
pub mod session;
