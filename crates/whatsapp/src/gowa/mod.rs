//! GoWA (go-whatsapp-web-multidevice): webhooks in, messages out, its devices. Contract: `chatwoot-bridge` section 4.
//!
//! A device's id on the server stands in the place of a session's token: it is what a call names, and together with the
//! endpoint's own user and password what it is allowed by.

mod courtesy;
mod devices;
mod download;
mod endpoint;
mod http;
mod inbound;
mod outbound;
mod picture;
mod session;
mod wire;

pub use courtesy::GowaCourtesy;
pub use devices::{Device, DeviceWebhook, GowaDevices, NewDevice};
pub use download::GowaDownloads;
pub use endpoint::GowaEndpoint;
pub use inbound::{SIGNATURE_HEADER, Unverified, Verified, sign};
pub use outbound::GowaSender;
pub use picture::GowaPictures;
pub use session::{GowaSessions, tells_enough};
