//! What every test starts with.

mod gateway;
mod internal;
mod owner;
mod raw;
mod twin;
mod wa_server;
mod wa_sessions;

pub(crate) use gateway::{Gateway, Session, scope, session_at, sessions_at, settings, try_session};
pub(crate) use internal::{APP, Answer, DESK, GLOBAL, NO_END, Peer, wanted, with_callers};
pub(crate) use owner::{Owner, new_owner};
pub(crate) use raw::raw;
pub(crate) use twin::Twin;
pub(crate) use wa_server::{ADMIN_TOKEN, FakeWaServer, Seen};
pub(crate) use wa_sessions::Fault;
