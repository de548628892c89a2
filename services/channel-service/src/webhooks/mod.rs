//! What providers push to us.

pub(crate) mod body;
pub(crate) mod genfity;
pub(crate) mod source;
pub(crate) mod verification;
