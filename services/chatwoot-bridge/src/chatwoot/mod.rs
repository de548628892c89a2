//! Chatwoot's application API, as far as the bridge uses it (contract, section 3). No other module knows its paths
//! or its field names.

mod breaker;
mod client;
mod error;
mod places;
mod wire;

pub use client::{Chatwoot, ChatwootApi, InboxAddress, NewContact, NewMessage};
pub use error::{ChatwootError, Wait};
pub use places::Place;
pub use wire::{Contact, Conversation, Message, ShownStatus};
