//! Somebody wants a text sent.

use domain::ids::AccountId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::envelope::Event;

/// The order to send one text. Asking twice with the same `request_id` sends once.
#[derive(Clone, Serialize, Deserialize)]
pub struct SendRequested {
    /// Chosen by whoever asks, unique within the tenant.
    pub request_id: Uuid,
    /// The tenant's sender.
    pub account_id: AccountId,
    /// Canonical address of the person: `628…@s.whatsapp.net`, `…@lid`.
    pub to: String,
    /// 1 to 65,536 characters.
    pub text: String,
    /// Repeated in every status of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

impl std::fmt::Debug for SendRequested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendRequested")
            .field("request_id", &self.request_id)
            .field("account_id", &self.account_id)
            .finish_non_exhaustive()
    }
}

impl Event for SendRequested {
    const TYPE: &'static str = "message.send_requested";
    const VERSION: u16 = 1;
}
