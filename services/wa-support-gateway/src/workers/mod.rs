//! What runs beside the requests.

pub(crate) mod expire_subscriptions;
pub(crate) mod traffic;
