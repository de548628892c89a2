//! What our services tell each other, a file per event. `docs/EVENTS.md` shows each of them.

pub mod chat_merged;
pub mod chat_profile;
pub mod govconnect;
pub mod message_parked;
pub mod message_received;
pub mod message_status_changed;
pub mod send_requested;
pub mod webhook_parked;
pub mod whatsapp_update;
