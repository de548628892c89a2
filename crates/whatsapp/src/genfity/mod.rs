//! The genfity WhatsApp server (a wuzapi descendant), reached directly for webhooks and through wa-support-gateway
//! for sending. Contracts: `wa-server` and `channel-service` section 2.

mod download;
mod inbound;
mod outbound;
mod wire;

pub use download::GenfityDownloads;
pub use inbound::{SIGNATURE_HEADER, SignatureCheck, Unverified, Verified};
pub use outbound::{Endpoint, GenfitySender, InvalidEndpoint};
