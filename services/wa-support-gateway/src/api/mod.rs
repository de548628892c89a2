//! The HTTP edge, a file per noun.

pub(crate) mod body;
mod budget;
pub(crate) mod caller;
pub(crate) mod contacts;
pub(crate) mod cors;
pub(crate) mod customer;
pub(crate) mod customers;
mod follow;
pub(crate) mod hooks;
pub(crate) mod journeys;
pub(crate) mod me;
pub(crate) mod privacy;
pub(crate) mod proxy;
pub(crate) mod root;
mod session_token;
pub(crate) mod sessions;
mod upload;
pub(crate) mod usage;
