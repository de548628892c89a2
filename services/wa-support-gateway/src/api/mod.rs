//! The HTTP edge, a file per noun.

pub(crate) mod body;
pub(crate) mod caller;
pub(crate) mod cors;
pub(crate) mod customer;
pub(crate) mod customers;
pub(crate) mod hooks;
pub(crate) mod me;
pub(crate) mod proxy;
pub(crate) mod root;
mod session_token;
mod upload;
