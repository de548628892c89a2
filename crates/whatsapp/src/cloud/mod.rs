//! Meta's Graph API (the WhatsApp Cloud API). Contract: `meta-cloud-api`.
//!
//! Inbound, a body becomes [`Signed`] by [`verify`], and only that can be cut into [`Update`]s: one POST holds up to a
//! thousand of them, of several tenants, and one that cannot be used never costs another.

mod challenge;
mod graph_error;
mod inbound;
mod signature;
mod update;
mod wire;

pub use challenge::{Challenge, Refused, answer_challenge};
pub use graph_error::GraphError;
pub use signature::{SIGNATURE_HEADER, Signed, sign, verify};
pub use update::{
    AccountEvent, AccountUpdate, Alert, Conversation, Identity, IdentityChange, MarketingPreference, Pricing,
    QualityUpdate, Restriction, StatusUpdate, TemplateChange, TemplateUpdate, Update, What,
};
