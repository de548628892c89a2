//! One bounded call to a GoWA, and what can go wrong with it.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::endpoint::GowaEndpoint;
use super::wire;
use crate::credentials::SessionToken;
use crate::genfity::{CallError, InvalidEndpoint, error_chain};

/// Most bytes read of an answer. A list of devices has some 200 bytes for each.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// Names the device of a call; the server decodes it as it decodes a URL.
pub(super) const DEVICE_HEADER: &str = "x-device-id";

/// A server and the way to it. Cheap to clone; all clones share their connections.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: Client,
    pub(super) endpoint: GowaEndpoint,
}

/// One call.
pub(super) struct Call<'a> {
    /// Names it in errors.
    pub(super) name: &'static str,
    pub(super) method: Method,
    pub(super) path: &'a [&'a str],
    pub(super) query: &'a [(&'a str, &'a str)],
    /// The device it is for, where the path does not say.
    pub(super) device: Option<&'a SessionToken>,
    pub(super) body: Option<Value>,
    /// A secret that the body tells.
    pub(super) told: Option<&'a SecretString>,
    pub(super) timeout: Duration,
}

impl<'a> Call<'a> {
    pub(super) const fn new(
        name: &'static str,
        method: Method,
        path: &'a [&'a str],
        timeout: Duration,
    ) -> Self {
        Self {
            name,
            method,
            path,
            query: &[],
            device: None,
            body: None,
            told: None,
            timeout,
        }
    }

    pub(super) fn with(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }
}

impl Http {
    pub(super) fn new(endpoint: &GowaEndpoint) -> Result<Self, InvalidEndpoint> {
        // Extended once here, so that a base that cannot be is found out at the start.
        endpoint.address(&["devices"])?;
        Ok(Self {
            client: endpoint.client().build().map_err(InvalidEndpoint::Client)?,
            endpoint: endpoint.clone(),
        })
    }

    /// As [`Self::new`], for answers that may take as long as they like while something comes.
    pub(super) fn patient(endpoint: &GowaEndpoint, silence: Duration) -> Result<Self, InvalidEndpoint> {
        let client = endpoint.client().read_timeout(silence);
        Ok(Self {
            client: client.build().map_err(InvalidEndpoint::Client)?,
            endpoint: endpoint.clone(),
        })
    }

    /// A request with our user and password. `None`: the path cannot be.
    pub(super) fn request(&self, method: Method, path: &[&str]) -> Option<RequestBuilder> {
        self.to(method, self.endpoint.address(path).ok()?)
    }

    fn to(&self, method: Method, url: Url) -> Option<RequestBuilder> {
        let request = self.client.request(method, url);
        Some(match self.endpoint.authorization() {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        })
    }

    /// The body of a 2xx answer.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Vec<u8>, CallError> {
        let name = call.name;
        let unsendable = || CallError::Credential { call: name };
        let mut url = self.endpoint.address(call.path).map_err(|_| unsendable())?;
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        let mut request = self
            .to(call.method, url)
            .ok_or_else(unsendable)?
            .timeout(call.timeout);
        if let Some(device) = call.device {
            request = request.header(DEVICE_HEADER, device_header(device).ok_or_else(unsendable)?);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let response = trace_context::call("gowa call", request.send())
            .await
            .map_err(|error| self.no_answer(name, &error))?;
        let status = response.status();
        let body = self.read(name, response).await;
        if status.is_success() {
            return body;
        }
        // A refusal is a refusal even when its explanation is cut or too long.
        Err(self.refused(name, status, &body.unwrap_or_default(), call.told))
    }

    /// The `results` of a 2xx answer.
    pub(super) async fn ask<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, CallError> {
        let name = call.name;
        let body = self.call(call).await?;
        let answer: wire::Results<T> =
            serde_json::from_slice(&body).map_err(|_| CallError::Unreadable { call: name })?;
        answer.results.ok_or(CallError::Unreadable { call: name })
    }

    fn no_answer(&self, call: &'static str, error: &reqwest::Error) -> CallError {
        let detail = self.endpoint.keep(&error_chain(error));
        if error.is_connect() || error.is_builder() {
            CallError::Unreachable { call, detail }
        } else {
            CallError::NoAnswer { call, detail }
        }
    }

    async fn read(&self, call: &'static str, mut response: Response) -> Result<Vec<u8>, CallError> {
        let mut bytes = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if bytes.len() + chunk.len() > MAX_ANSWER => {
                    return Err(CallError::Unreadable { call });
                }
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => return Ok(bytes),
                Err(error) => return Err(self.no_answer(call, &error)),
            }
        }
    }

    fn refused(
        &self,
        call: &'static str,
        status: StatusCode,
        body: &[u8],
        told: Option<&SecretString>,
    ) -> CallError {
        let answer: wire::Answer<'_> = serde_json::from_slice(body).unwrap_or_default();
        let said = answer
            .message
            .filled()
            .or_else(|| status.canonical_reason())
            .unwrap_or_default();
        CallError::Refused {
            call,
            status: status.as_u16(),
            code: answer.code.filled().map(str::to_owned),
            said: self.endpoint.keep_without(said, told),
        }
    }
}

/// A device's id as the header that names it.
pub(super) fn device_header(device: &SessionToken) -> Option<HeaderValue> {
    // An id has no blanks, so nothing becomes a plus sign here.
    let encoded: String = form_urlencoded::byte_serialize(device.expose().as_bytes()).collect();
    HeaderValue::from_str(&encoded).ok()
}

/// The path of a file that the server shows under `statics/`, cut at its slashes. `None`: it is nothing of that sort, or
/// leads elsewhere. What stands before it, a host included, does not count: files are fetched from the endpoint only.
pub(super) fn static_path(told: &str) -> Option<Vec<&str>> {
    let told = told.split(['?', '#']).next()?;
    let start = if told.starts_with("statics/") {
        0
    } else {
        told.find("/statics/")? + 1
    };
    let parts: Vec<&str> = told.get(start..)?.split('/').collect();
    let plain = |part: &&str| {
        !part.is_empty()
            && !matches!(*part, "." | "..")
            && !part.contains(['\\', '%'])
            && !part.chars().any(char::is_control)
    };
    (parts.len() > 1 && parts.iter().all(plain)).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_looked_for_under_the_endpoint_only() {
        for (told, path) in [
            ("statics/media/1-2.jpg", Some("statics/media/1-2.jpg")),
            ("/statics/media/1-2.jpg", Some("statics/media/1-2.jpg")),
            (
                "http://other.example/gowa/statics/qrcode/a.png?x=1",
                Some("statics/qrcode/a.png"),
            ),
            ("statics/media/../../app/devices", None),
            ("statics/media/%2e%2e/devices", None),
            ("statics/media/..\\devices", None),
            ("statics//devices", None),
            ("statics/", None),
            ("app/devices", None),
            ("http://other.example/file.jpg", None),
            ("", None),
        ] {
            assert_eq!(
                static_path(told).map(|parts| parts.join("/")).as_deref(),
                path,
                "{told}"
            );
        }
    }

    #[test]
    fn a_device_is_named_as_a_url_is_written() {
        let header = |id: &str| device_header(&SessionToken::new(id).unwrap()).unwrap();
        assert_eq!(header("toko-1"), "toko-1");
        assert_eq!(header("50%2Foff:1@x"), "50%252Foff%3A1%40x");
    }
}
