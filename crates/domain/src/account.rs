//! Accounts: a tenant's senders.

use crate::address::PhoneNumber;
use crate::endpoint::{EndpointName, Provider};
use crate::ids::{AccountId, TenantId};
use crate::words::words;

words! {
    /// What we last learned about an account's connection to WhatsApp.
    ///
    /// `Unknown` is not `Disconnected`: an endpoint that cannot be asked says nothing about the phone behind it.
    AccountStatus, "account status" {
        /// Nothing was heard yet, or the endpoint could not be asked.
        Unknown = "unknown",
        /// A QR code waits to be scanned.
        QrWaiting = "qr_waiting",
        /// Paired and able to send.
        Connected = "connected",
        /// The connection is down; the pairing still holds.
        Disconnected = "disconnected",
        /// Unlinked from the phone: only a new pairing helps.
        LoggedOut = "logged_out",
    }
}

/// A tenant's sender on an endpoint: one WhatsApp number with its session or device.
///
/// Carries no credentials: the session's token is fetched and decrypted where a call is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Whose it is.
    pub tenant: TenantId,
    /// Our id.
    pub id: AccountId,
    /// Which kind of API it lives on.
    pub provider: Provider,
    /// Which server it lives on.
    pub endpoint: EndpointName,
    /// The session's name on the server (`instanceName` in webhooks). Free text there and not unique.
    pub instance_name: Option<String>,
    /// The server's own id of the session (`userID` in webhooks, 32 hex digits). Unique there.
    pub session_id: Option<String>,
    /// The number, once paired.
    pub phone: Option<PhoneNumber>,
    /// What we last learned about its connection.
    pub status: AccountStatus,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_keep_their_names() {
        for &status in AccountStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        assert!("".parse::<AccountStatus>().is_err());
    }
}
