//! The genfity WhatsApp server (a wuzapi descendant), reached directly for webhooks and through wa-support-gateway
//! for sending. Contracts: `wa-server` and `channel-service` section 2.

mod courtesy;
mod inbound;
mod outbound;
mod wire;

pub use courtesy::GenfityCourtesy;
pub use inbound::{SIGNATURE_HEADER, Unverified, Verified};
pub use outbound::{Endpoint, GenfitySender, InvalidEndpoint};
