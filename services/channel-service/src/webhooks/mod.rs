//! What providers push to us.

mod accept;
pub(crate) mod body;
pub(crate) mod genfity;
pub(crate) mod gowa;
pub(crate) mod source;
pub(crate) mod verification;
