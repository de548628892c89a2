//! From a signed body to updates.

use chrono::{DateTime, Utc};

use super::{Signed, Update, wire};
use crate::error::MalformedWebhook;
use crate::event::Keep;

impl Signed {
    /// Cuts the body into its updates, in its order, with messages of conversations with one person only. `now` stands in
    /// for times that are missing or cannot be.
    ///
    /// # Errors
    /// [`MalformedWebhook`] when it is no webhook about WhatsApp at all: nothing in it can be told apart. What is wrong
    /// with one update is in that update.
    pub fn updates(&self, now: DateTime<Utc>) -> Result<Vec<Update>, MalformedWebhook> {
        self.updates_with(now, Keep::default())
    }

    /// As [`Self::updates`], with messages from the places that are wanted.
    ///
    /// # Errors
    /// As [`Self::updates`].
    pub fn updates_with(&self, _now: DateTime<Utc>, _keep: Keep) -> Result<Vec<Update>, MalformedWebhook> {
        let text = std::str::from_utf8(&self.body).map_err(|_| MalformedWebhook::NotUtf8)?;
        let envelope: wire::Envelope<'_> = wire::object(text).ok_or(MalformedWebhook::NotJson)?;
        if envelope.object.text() != Some(wire::OBJECT) {
            return Err(MalformedWebhook::OtherProduct);
        }
        Ok(Vec::new())
    }
}
