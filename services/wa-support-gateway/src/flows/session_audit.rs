//! Who did what to sessions, in the transaction that did it (W-27). Names and ids only: no token, no key, and of a webhook's
//! address only that it was changed.
//!
//! What passes through the proxy is no act on our rows and not noted; what the sweeps finish was noted when it was begun,
//! and what they give up is noted.

use std::net::IpAddr;

use database::DatabaseError;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

use super::session_change::Change;
use super::sessions::{OpenSession, Sessions};
use crate::store::audit::{self, Act};
use crate::store::sessions::{self, Session};

/// Who acts on sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum SessionActor {
    /// Whoever shows the customer's key of this id, from this address.
    Key(Uuid, Option<IpAddr>),
    /// The service of this name, calling from this address.
    Caller(String, Option<IpAddr>),
    /// Whoever types commands on the machine.
    Operator,
    /// The service by itself.
    #[default]
    Service,
}

impl SessionActor {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Key(id, _) => format!("key:{id}"),
            Self::Caller(name, _) => name.clone(),
            Self::Operator => "operator".to_owned(),
            Self::Service => crate::SERVICE.to_owned(),
        }
    }

    fn address(&self) -> Option<String> {
        match self {
            Self::Key(_, address) | Self::Caller(_, address) => address.map(|address| address.to_string()),
            Self::Operator | Self::Service => None,
        }
    }
}

impl Sessions {
    /// The same, on behalf of somebody.
    pub(crate) fn acting_for(mut self, actor: SessionActor) -> Self {
        self.actor = actor;
        self
    }

    /// A session was made, and is to be connected or not.
    pub(crate) async fn audit_creation(
        &self,
        tx: &mut TenantTransaction,
        session: &Session,
        connecting: bool,
    ) -> Result<(), DatabaseError> {
        let connected = if connecting { ", to be connected" } else { "" };
        let detail = format!("{}{connected}", session.session_name);
        self.audit(tx, "session.create", session, detail).await
    }

    /// A session was changed. That nothing was asked for is no act.
    pub(crate) async fn audit_change(
        &self,
        tx: &mut TenantTransaction,
        session: &OpenSession,
        change: &Change,
    ) -> Result<(), DatabaseError> {
        let Some(detail) = asked_for(change, &session.row) else {
            return Ok(());
        };
        self.audit(tx, "session.change", &session.row, detail).await
    }

    /// A session was looked after by hand.
    pub(crate) async fn audit_repair(
        &self,
        tx: &mut TenantTransaction,
        session: &Session,
    ) -> Result<(), DatabaseError> {
        let detail = session.session_name.clone();
        self.audit(tx, "session.repair", session, detail).await
    }

    /// A session was to be disconnected and is not: nobody tries it any more.
    pub(super) async fn audit_giving_up(
        &self,
        tx: &mut TenantTransaction,
        session: &Session,
    ) -> Result<(), DatabaseError> {
        let detail = format!("{}: not disconnected within a day", session.session_name);
        self.audit(tx, "session.disconnect_given_up", session, detail)
            .await
    }

    /// A session is on its way out. Who finishes that only goes on with it.
    pub(crate) async fn audit_removal(
        &self,
        tx: &mut TenantTransaction,
        session: &Session,
    ) -> Result<(), DatabaseError> {
        if session.phase == sessions::REMOVING {
            return Ok(());
        }
        let detail = session.session_name.clone();
        self.audit(tx, "session.delete", session, detail).await
    }

    /// A session's customer was made or changed with it.
    pub(crate) async fn audit_customer(
        &self,
        tx: &mut TenantTransaction,
        action: &'static str,
        detail: String,
    ) -> Result<(), DatabaseError> {
        let act = Act {
            actor: &self.actor.name(),
            action,
            subject: None,
            detail: Some(detail),
            source: self.actor.address(),
        };
        audit::note(tx, &act).await
    }

    async fn audit(
        &self,
        tx: &mut TenantTransaction,
        action: &'static str,
        session: &Session,
        detail: String,
    ) -> Result<(), DatabaseError> {
        let subject = session.session_id.clone();
        let act = Act {
            actor: &self.actor.name(),
            action,
            subject: Some(subject.unwrap_or_else(|| session.id.to_string())),
            detail: Some(detail),
            source: self.actor.address(),
        };
        audit::note(tx, &act).await
    }
}

fn asked_for(change: &Change, before: &Session) -> Option<String> {
    let fields = [
        ("session_name", change.name.is_some()),
        ("webhook_url", change.webhook_url.is_some()),
        ("events", change.events.is_some()),
        ("expiration_sec", change.expiration_sec.is_some()),
        ("history", change.history.is_some()),
        ("auto_read_enabled", change.auto_read.is_some()),
        ("typing_enabled", change.typing.is_some()),
        ("hmac_key", change.hmac_key.is_some()),
    ];
    let fields = fields.iter().filter(|(_, asked)| *asked).map(|(name, _)| *name);
    let fields: Vec<&str> = fields.collect();
    let name = &before.session_name;
    let new_name = change
        .name
        .as_ref()
        .map(|name| name.as_str())
        .filter(|new| new != name);
    let renamed = new_name.map_or_else(String::new, |new| format!(", now {new}"));
    (!fields.is_empty()).then(|| format!("{name}: {}{renamed}", fields.join(", ")))
}
