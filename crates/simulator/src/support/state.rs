//! What the gateway knows: its customers with their subscriptions, and the sessions it made for them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::hub::Moment;

/// A customer as read back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SupportCustomer {
    /// `user_id`.
    pub user_id: String,
    /// Whose it is.
    pub source: String,
    /// The key that opens its routes. The real one keeps a hash only.
    pub api_key: String,
    /// How often the key was replaced.
    pub rotations: u32,
    /// Its sessions, oldest first.
    pub sessions: Vec<SupportSession>,
}

/// A session as read back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SupportSession {
    /// The WA server's user id.
    pub session_id: String,
    /// What it is called.
    pub session_name: String,
    /// What the proxy knows it by.
    pub session_token: String,
    /// Where its events go.
    pub webhook_url: String,
}

#[derive(Debug, Clone)]
pub(super) struct Subscription {
    pub(super) provider: String,
    pub(super) expires_at: String,
    pub(super) max_sessions: i64,
    pub(super) max_messages: i64,
}

#[derive(Debug, Clone)]
pub(super) struct Customer {
    pub(super) user_id: String,
    pub(super) source: String,
    pub(super) created_by: String,
    pub(super) api_key: String,
    pub(super) rotations: u32,
    pub(super) created_at: Moment,
    pub(super) updated_at: Moment,
    pub(super) subscription: Subscription,
}

#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) number: u64,
    pub(super) user_id: String,
    pub(super) session: SupportSession,
    pub(super) created_at: Moment,
    pub(super) updated_at: Moment,
}

#[derive(Debug, Default)]
pub(crate) struct SupportState {
    pub(super) customers: Vec<Customer>,
    pub(super) sessions: Vec<Session>,
    pub(super) made: u64,
}

impl SupportState {
    pub(super) fn customer(&self, user_id: &str) -> Option<&Customer> {
        self.customers.iter().find(|customer| customer.user_id == user_id)
    }

    pub(super) fn customer_mut(&mut self, user_id: &str) -> Option<&mut Customer> {
        self.customers
            .iter_mut()
            .find(|customer| customer.user_id == user_id)
    }

    pub(super) fn sessions_of<'a>(&'a self, user_id: &'a str) -> impl Iterator<Item = &'a Session> {
        self.sessions
            .iter()
            .filter(move |session| session.user_id == user_id)
    }

    pub(crate) fn view(&self) -> Vec<SupportCustomer> {
        self.customers
            .iter()
            .map(|customer| SupportCustomer {
                user_id: customer.user_id.clone(),
                source: customer.source.clone(),
                api_key: customer.api_key.clone(),
                rotations: customer.rotations,
                sessions: self
                    .sessions_of(&customer.user_id)
                    .map(|session| session.session.clone())
                    .collect(),
            })
            .collect()
    }
}

impl Session {
    /// The session object of §7.2. It is synced only by the gateway's own calls, so it stays `created`.
    pub(super) fn wire(&self) -> Value {
        let session = &self.session;
        json!({
            "id": self.number, "user_id": self.user_id, "provider": "genfity-wa", "session_id": session.session_id,
            "session_name": session.session_name, "session_token": session.session_token,
            "webhook_url": session.webhook_url, "connected": false, "logged_in": false, "jid": "",
            "status": "created", "last_synced_at": self.created_at.at, "last_activity_at": null,
            "last_message_sent": 0, "last_message_fail": 0, "created_at": self.created_at.at,
            "updated_at": self.updated_at.at,
        })
    }
}
