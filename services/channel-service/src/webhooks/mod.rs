//! What providers push to us.

pub(crate) mod genfity;
