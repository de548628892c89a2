//! The calls that the gateway makes on its own: `whatsapp` knows how they are written (contract §9, §9.1).

use secrecy::SecretString;
use whatsapp::genfity::{Endpoint, GenfitySessions, InvalidEndpoint, WaAdmin};

use crate::config::{SessionSettings, WaServerSettings};

/// One WA server, its administration and its sessions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WaCalls {
    pub(crate) admin: WaAdmin,
    pub(crate) sessions: GenfitySessions,
}

impl WaCalls {
    /// Prepares the clients; nothing is dialled yet. `admin_token` opens the server's administration and goes nowhere
    /// else (W-31).
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when the base URL cannot be extended or TLS is not set up.
    pub fn new(
        server: &WaServerSettings,
        sessions: &SessionSettings,
        admin_token: SecretString,
    ) -> Result<Self, InvalidEndpoint> {
        let endpoint = Endpoint::new(server.url.url().clone())?
            .with_connect_timeout(server.connect_timeout)
            .with_total_timeout(sessions.call_timeout);
        Ok(Self {
            admin: WaAdmin::new(&endpoint, admin_token)?,
            sessions: GenfitySessions::new(&endpoint)?,
        })
    }
}
