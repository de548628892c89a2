//! What runs beside the requests.

pub(crate) mod expire_subscriptions;
