//! Chatwoot's application API, as far as the bridge uses it (contract, section 3). No other module knows its paths
//! or its field names.

mod breaker;
mod client;
mod contacts;
mod conversations;
mod downloads;
mod error;
pub mod inboxes;
mod looking;
mod messages;
mod notes;
mod pace;
mod places;
pub mod probe;
mod statuses;
mod wire;

pub use client::{Chatwoot, ChatwootApi, InboxAddress};
pub use contacts::{ContactChange, NewContact};
pub use downloads::{DownloadedFile, Downloads, NotDownloaded};
pub use error::{ChatwootError, Wait};
pub use looking::{ShownConversation, ShownMessage};
pub use messages::{Author, MessageFile, NewMessage};
pub use pace::{Haste, Pace};
pub use places::Place;
pub use statuses::AgentsMessage;
pub use wire::{Contact, Conversation, Message, ShownStatus};
