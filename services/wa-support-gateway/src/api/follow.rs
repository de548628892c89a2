//! What the gateway takes from calls that pass through the proxy (contract §8.6, §9.1).

use bytes::Bytes;
use tenant_isolation::TenantScope;
use uuid::Uuid;

use crate::error::Error;
use crate::flows::proxy_path::ProxyPath;
use crate::flows::session_status::StatusNotes;
use crate::state::Gateway;

/// More than any status: a QR code as a data URL is some ten KiB.
const STATUS_LIMIT: usize = 128 * 1024;

/// What a successful call means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// The session was connected, and the WA server has forgotten things.
    Connected,
    /// The session is not to be connected any more, whatever was wanted before.
    Disconnected,
    /// The answer says where the session stands.
    Status,
}

/// A call that is followed until its answer is there.
#[derive(Debug)]
pub(crate) struct Follow {
    meaning: Option<Meaning>,
    scope: TenantScope,
    session: Uuid,
    /// Something of ours may undo it, and is to be undone behind it.
    take_off: bool,
}

impl Follow {
    /// For the session whose token was shown.
    pub(crate) fn new(method: &hyper::Method, path: &ProxyPath, scope: &TenantScope, session: Uuid) -> Self {
        Self {
            meaning: match (method.as_str(), path.as_str()) {
                ("POST", "/session/connect") => Some(Meaning::Connected),
                ("POST", "/session/disconnect" | "/session/logout") => Some(Meaning::Disconnected),
                ("GET", "/session/status") => Some(Meaning::Status),
                _ => None,
            },
            scope: scope.clone(),
            session,
            take_off: false,
        }
    }

    /// Before the call goes out: what it asks for is noted, so that nothing of ours that is older undoes it, also when this
    /// process dies.
    ///
    /// # Errors
    /// [`Error::Database`](crate::error::Error::Database).
    pub(crate) async fn goes_out(&mut self, gateway: &Gateway) -> Result<(), Error> {
        let on = match self.meaning {
            Some(Meaning::Connected) => true,
            Some(Meaning::Disconnected) => false,
            Some(Meaning::Status) | None => return Ok(()),
        };
        let (sessions, scope, session) = (gateway.sessions.clone(), self.scope.clone(), self.session);
        let preparing = async move {
            let take_off = sessions.switch(&scope, session, on).await?;
            if on {
                sessions.sign_first(&scope, session).await;
            }
            Ok(take_off)
        };
        self.take_off = gateway.on_process(preparing).await?;
        Ok(())
    }

    /// The call was answered. `Some`: the answer's body is of interest.
    pub(crate) fn answered(self, gateway: &Gateway, succeeded: bool) -> Option<Watch> {
        match self.meaning? {
            // Also when it was refused: a session that does not run yet is refused, and must not begin to run later.
            Meaning::Disconnected => {
                if self.take_off {
                    gateway.sessions.take_off_soon(self.scope, self.session);
                }
                None
            }
            _ if !succeeded => None,
            Meaning::Connected => {
                // Wanted or not, it is connected now.
                gateway.sessions.keep_soon(self.scope, self.session, true);
                None
            }
            Meaning::Status => Some(Watch {
                notes: gateway.status_notes.clone(),
                scope: self.scope,
                session: self.session,
                seen: Some(Vec::new()),
            }),
        }
    }
}

/// Looks on while a body passes by, and notes what it says once it is through.
pub(crate) struct Watch {
    notes: StatusNotes,
    scope: TenantScope,
    session: Uuid,
    /// `None`: it is longer than any status.
    seen: Option<Vec<u8>>,
}

impl Watch {
    /// A piece passes.
    pub(crate) fn see(&mut self, piece: &Bytes) {
        match &mut self.seen {
            Some(seen) if seen.len() + piece.len() <= STATUS_LIMIT => seen.extend_from_slice(piece),
            _ => self.seen = None,
        }
    }
}

/// Whoever writes the answer knows its length and does not ask for the end of the body; a body that is not whole is no
/// JSON.
impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(seen) = &self.seen {
            self.notes.note(&self.scope, self.session, seen);
        }
    }
}
