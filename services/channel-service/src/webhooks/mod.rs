//! What providers push to us.

mod accept;
pub(crate) mod body;
pub(crate) mod cloud;
pub(crate) mod cloud_replay;
mod cloud_updates;
pub(crate) mod genfity;
pub(crate) mod gowa;
pub(crate) mod source;
pub(crate) mod verification;
