//! What the ingress hands on to for routes to a URL.

use database::DatabaseError;
use futures_util::future::BoxFuture;

use super::book::KnownRoute;
use super::event::Incoming;

/// Makes events durable that go to a URL.
pub trait ForwardEvents: Send + Sync {
    /// Takes one event; a second time is as good as once.
    fn accept<'a>(
        &'a self,
        to: &'a KnownRoute,
        event: Incoming,
    ) -> BoxFuture<'a, Result<Forwarding, NotForwarded>>;
}

/// What was made of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarding {
    /// It is durable and will be posted.
    Queued,
    /// It was accepted before.
    Repeated,
    /// The route does not want it.
    Unwanted,
}

/// Why an event was not taken: nothing is durable then.
#[derive(Debug, thiserror::Error)]
pub enum NotForwarded {
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// More waits for the target than may wait.
    #[error("too much waits for this target")]
    Full,
}
