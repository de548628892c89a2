//! What a tenant shows of itself besides messages: that an answer is being written, that a message was read.
//!
//! Nothing depends on it. It is tried once, for a few seconds, and not repeated: a minute later it would be wrong.

use domain::address::ChatAddress;
use domain::ids::ProviderMessageId;
use futures_util::future::BoxFuture;

use crate::credentials::SessionToken;

/// What a person sees under the tenant's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typing {
    /// Somebody is writing.
    Composing,
    /// Nobody is, any more.
    Paused,
}

/// One provider's way of showing it.
pub trait ShowCourtesy: Send + Sync {
    /// Shows that somebody is writing, or not.
    fn presence<'a>(
        &'a self,
        credentials: &'a SessionToken,
        to: &'a ChatAddress,
        typing: Typing,
    ) -> BoxFuture<'a, Result<(), NotShown>>;

    /// Marks a person's messages as read. Of no messages nothing is told; of many the newest twenty at least are marked,
    /// which is what a person looks at. They are given oldest first.
    fn mark_read<'a>(
        &'a self,
        credentials: &'a SessionToken,
        chat: &'a ChatAddress,
        messages: &'a [ProviderMessageId],
    ) -> BoxFuture<'a, Result<(), NotShown>>;
}

/// Why it was not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotShown {
    /// This is nobody on WhatsApp.
    #[error("this chat is not on WhatsApp")]
    NotOnWhatsApp,
    /// The token fits into no header, or the request could not be built.
    #[error("the request could not be built")]
    NotSendable,
    /// No answer in time, or none at all.
    #[error("the server did not answer")]
    NoAnswer,
    /// The server said no.
    #[error("the server answered {0}")]
    Refused(u16),
}
