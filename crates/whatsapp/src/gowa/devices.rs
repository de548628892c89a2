//! Devices: made, told where their events go, listed, taken away (chatwoot-bridge contract 4.5).

use std::time::Duration;

use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};

use super::endpoint::GowaEndpoint;
use super::http::{Call, Http};
use super::wire;
use crate::credentials::{SessionToken, WebhookKey};
use crate::genfity::{CallError, InvalidEndpoint, Removal};

const SHORT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(30);

/// The devices of one server. Cheap to clone; one per endpoint, for its connections are shared.
#[derive(Debug, Clone)]
pub struct GowaDevices {
    http: Http,
}

/// A device that is to be there.
#[derive(Debug, Clone)]
pub struct NewDevice {
    /// Its id, which we choose.
    pub id: SessionToken,
    /// Where its events go; `None`: where the server sends those of all devices.
    pub webhook: Option<DeviceWebhook>,
}

/// Where a device's events go.
#[derive(Debug, Clone)]
pub struct DeviceWebhook {
    /// The address.
    pub url: String,
    /// What they are signed with.
    pub key: WebhookKey,
}

impl DeviceWebhook {
    fn secret(&self) -> SecretString {
        SecretString::from(self.key.text())
    }
}

/// A device as the server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub id: String,
    /// `disconnected`, `connecting`, `connected` or `logged_in`.
    pub state: String,
    /// Its own address, empty until paired.
    pub jid: String,
    /// Its number, empty until paired.
    pub phone: String,
}

impl From<wire::Device> for Device {
    fn from(device: wire::Device) -> Self {
        Self {
            id: device.id,
            state: device.state,
            jid: device.jid,
            phone: device.phone_number,
        }
    }
}

impl GowaDevices {
    /// Prepares a client; nothing is dialled yet.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] when the base URL cannot be extended or TLS is not set up.
    pub fn new(endpoint: &GowaEndpoint) -> Result<Self, InvalidEndpoint> {
        Ok(Self {
            http: Http::new(endpoint)?,
        })
    }

    /// All devices.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list(&self) -> Result<Vec<Device>, CallError> {
        let devices: Vec<wire::Device> = self
            .http
            .ask(Call::new("GET /devices", Method::GET, &["devices"], SHORT))
            .await?;
        Ok(devices.into_iter().map(Device::from).collect())
    }

    /// The device with this id. The server tells an unknown id and its own troubles apart by nothing, so it is looked for in
    /// the list.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn find(&self, id: &SessionToken) -> Result<Option<Device>, CallError> {
        let devices = self.list().await?;
        Ok(devices.into_iter().find(|device| device.id == id.expose()))
    }

    /// Makes the device, unless it is there already; in either case its events go where they are to go. Running it again
    /// changes nothing.
    ///
    /// # Errors
    /// [`CallError`]; running it again is safe.
    pub async fn ensure(&self, new: &NewDevice) -> Result<Device, CallError> {
        if let Some(device) = self.find(&new.id).await? {
            return self.keep_webhook(new, device).await;
        }
        let key = new.webhook.as_ref().map(DeviceWebhook::secret);
        let body = match &new.webhook {
            Some(webhook) => wire::webhook(Some(new.id.expose()), &webhook.url, webhook.key.text(), false),
            None => wire::device(new.id.expose()),
        };
        let mut call = Call::new("POST /devices", Method::POST, &["devices"], LONG).with(body);
        call.told = key.as_ref();
        let made: Result<wire::Device, CallError> = self.http.ask(call).await;
        match made {
            Ok(device) => Ok(device.into()),
            Err(error @ CallError::Unreachable { .. }) => Err(error),
            // Somebody else was faster, or the answer was lost on its way.
            Err(error) => match self.find(&new.id).await {
                Ok(Some(device)) => self.keep_webhook(new, device).await,
                Ok(None) | Err(_) => Err(error),
            },
        }
    }

    async fn keep_webhook(&self, new: &NewDevice, device: Device) -> Result<Device, CallError> {
        if let Some(webhook) = &new.webhook {
            self.set_webhook(&new.id, webhook).await?;
        }
        Ok(device)
    }

    /// Sets where the device's events go and what they are signed with.
    ///
    /// # Errors
    /// [`CallError`]; running it again is safe.
    pub async fn set_webhook(&self, id: &SessionToken, webhook: &DeviceWebhook) -> Result<(), CallError> {
        set_webhook(&self.http, id, &webhook.url, &webhook.secret(), false).await
    }

    /// Takes the device away, its pairing included.
    ///
    /// # Errors
    /// [`CallError`]; running it again is safe.
    pub async fn remove(&self, id: &SessionToken) -> Result<Removal, CallError> {
        let path = &["devices", id.expose()];
        let call = Call::new("DELETE /devices/:id", Method::DELETE, path, LONG);
        match self.http.call(call).await {
            Ok(_) => Ok(Removal::Removed),
            Err(CallError::Refused { status: 404, .. }) => Ok(Removal::WasAbsent),
            Err(error @ CallError::Unreachable { .. }) => Err(error),
            Err(error) => match self.find(id).await {
                Ok(None) => Ok(Removal::WasAbsent),
                Ok(Some(_)) | Err(_) => Err(error),
            },
        }
    }
}

pub(super) async fn webhook(http: &Http, id: &SessionToken) -> Result<wire::Webhook, CallError> {
    let path = &["devices", id.expose(), "webhook"];
    http.ask(Call::new("GET /devices/:id/webhook", Method::GET, path, SHORT))
        .await
}

pub(super) async fn set_webhook(
    http: &Http,
    id: &SessionToken,
    url: &str,
    key: &SecretString,
    insecure: bool,
) -> Result<(), CallError> {
    let path = &["devices", id.expose(), "webhook"];
    let body = wire::webhook(None, url, key.expose_secret(), insecure);
    let mut call = Call::new("PATCH /devices/:id/webhook", Method::PATCH, path, SHORT).with(body);
    call.told = Some(key);
    http.call(call).await.map(drop)
}
