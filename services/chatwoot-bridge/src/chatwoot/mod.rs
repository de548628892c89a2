//! Chatwoot's application API, as far as the bridge uses it (contract, section 3). No other module knows its paths
//! or its field names.

mod breaker;
mod client;
mod contacts;
mod conversations;
mod error;
mod looking;
mod messages;
mod places;
mod statuses;
mod wire;

pub use client::{Chatwoot, ChatwootApi, InboxAddress};
pub use contacts::NewContact;
pub use error::{ChatwootError, Wait};
pub use looking::{ShownConversation, ShownMessage};
pub use messages::NewMessage;
pub use places::Place;
pub use wire::{Contact, Conversation, Message, ShownStatus};
