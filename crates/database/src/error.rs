//! What can go wrong in Postgres, sorted by what a caller can do about it.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// A failed piece of database work.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Postgres cannot be reached, is overloaded or went away in the middle. Trying again later is right.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The row is not there, or not this tenant's.
    #[error("no such row")]
    NotFound,
    /// A unique constraint holds already; its name tells which.
    #[error("a row with this key exists already ({constraint})")]
    Conflict {
        /// Name of the violated constraint.
        constraint: String,
    },
    /// Two transactions stood in each other's way. Doing the whole transaction again is right.
    #[error("the transaction met another one")]
    Contended,
    /// A bug of ours or a broken schema.
    #[error("the database refused the statement")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl DatabaseError {
    pub(crate) fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(cause.into())
    }

    /// May the same work succeed later, without anybody changing it?
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Contended => true,
            Self::NotFound | Self::Conflict { .. } | Self::Refused(_) => false,
        }
    }
}

impl From<DieselError> for DatabaseError {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::NotFound => Self::NotFound,
            DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, ref info) => Self::Conflict {
                constraint: info.constraint_name().unwrap_or_default().to_owned(),
            },
            DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => Self::Contended,
            // Postgres ended one of two that waited for each other; diesel has no kind for it.
            DieselError::DatabaseError(DatabaseErrorKind::Unknown, ref info)
                if info.message().contains("deadlock detected") =>
            {
                Self::Contended
            }
            // A cut connection, or a server that says "going away": the driver has no finer kind for either.
            DieselError::DatabaseError(
                DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection,
                _,
            )
            | DieselError::BrokenTransactionManager => Self::unavailable(error),
            DieselError::DatabaseError(DatabaseErrorKind::Unknown, ref info)
                if is_going_away(info.message()) =>
            {
                Self::unavailable(error)
            }
            other => Self::Refused(Box::new(other)),
        }
    }
}

/// The server's fixed words for conditions 57P01 to 57P03 and 53300, whose codes diesel does not hand on.
fn is_going_away(message: &str) -> bool {
    const GOING_AWAY: [&str; 5] = [
        "terminating connection",
        "the database system is",
        "too many clients",
        "remaining connection slots",
        "canceling statement due to",
    ];
    GOING_AWAY.iter().any(|words| message.contains(words))
}
