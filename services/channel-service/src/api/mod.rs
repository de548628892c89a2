//! The HTTP edge, a file per noun: `/internal` for other services, behind the internal key; `/api` for people who are
//! signed in to the dashboard.

pub(crate) mod auth;
pub(crate) mod channel_accounts;
pub(crate) mod signed_in;
pub(crate) mod tenants;
pub(crate) mod village;
