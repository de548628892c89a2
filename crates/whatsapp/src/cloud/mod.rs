//! Meta's Graph API (the WhatsApp Cloud API). Contract: `meta-cloud-api`.
//!
//! Inbound, a body becomes [`Signed`] by [`verify`], and only that can be cut into [`Update`]s: one POST holds up to a
//! thousand of them, of several tenants, and one that cannot be used never costs another.
//!
//! Outbound, an account's session token is a number's id, see [`NumberCredentials`]. What an error means is one table,
//! [`ErrorClass`], for answers and for statuses that come later.

mod challenge;
mod class;
mod courtesy;
mod endpoint;
mod graph_error;
mod http;
mod inbound;
mod media;
mod media_type;
mod outbound;
mod session;
mod signature;
mod template_check;
mod templates;
mod update;
mod uploads;
mod usage;
mod wire;

pub use challenge::{Challenge, Refused, answer_challenge};
pub use class::ErrorClass;
pub use courtesy::GraphCourtesy;
pub use endpoint::{GraphEndpoint, NumberCredentials};
pub use graph_error::GraphError;
pub use http::{GraphFailure, Refusal};
pub use media::{GraphMedia, MediaInfo, NewFile, UploadedMedia};
pub use outbound::{GraphSender, contact};
pub use session::GraphSessions;
pub use signature::{SIGNATURE_HEADER, Signed, check_shape, sign, verify};
pub use template_check::check;
pub use templates::{GraphTemplates, Template, TemplateButton, TemplateHeader, Variables};
pub use update::{
    AccountEvent, AccountUpdate, Alert, Conversation, Identity, IdentityChange, MarketingPreference, Pricing,
    QualityUpdate, Restriction, StatusUpdate, TemplateChange, TemplateUpdate, Update, What,
};
