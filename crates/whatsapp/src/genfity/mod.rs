//! The genfity WhatsApp server (a wuzapi descendant), reached directly for webhooks and through wa-support-gateway
//! for sending. Contracts: `wa-server` and `channel-service` section 2.

mod admin;
mod courtesy;
mod download;
mod events;
mod http;
mod inbound;
mod outbound;
mod picture;
mod session;
mod support;
mod upkeep;
mod wire;

pub use admin::{NewWaUser, WaAdmin, WaUser, WaUserEdit};
pub use courtesy::GenfityCourtesy;
pub use download::GenfityDownloads;
pub use events::{EventList, UnknownEvent};
pub use http::{CallError, Removal};
pub use inbound::{SIGNATURE_HEADER, SignatureCheck, SignatureProof, Unverified, Verified, sign};
pub(crate) use outbound::chain as error_chain;
pub use outbound::{Endpoint, GenfitySender, InvalidEndpoint};
pub use picture::GenfityPictures;
pub use session::GenfitySessions;
pub use support::{
    CustomerKey, EnsuredCustomer, GatewaySession, InternalKey, NewGatewaySession, SupportGateway, UserPage,
};
pub use upkeep::{SeenStatus, WebhookState, read_status};
