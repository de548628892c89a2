//! A device being paired, as it happens: server-sent events.
//!
//! | event | data | |
//! |---|---|---|
//! | `qr` | `qr`, `status` | each time the code changes |
//! | `connected` | `device` | before the last one, when the socket to WhatsApp is up |
//! | `logged_in` | `device` | paired; the last one |
//! | `expired` | `reason` | the codes ran out, it was never connected, or the stream's time is over; the last one |
//! | `error` | `code` | nobody knows how it goes on; the last one |
//!
//! A stream looks once a second, and what it sees is shared with all others ([`Sessions::sight`]). It ends by itself after a
//! while, when its reader has left, and when the process ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::web::ApiError;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Bytes;
use domain::ids::{AccountId, TenantId};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tenant_isolation::TenantScope;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::devices::wire;
use crate::config::DeviceSettings;
use crate::flows::session::{News, Seen, SessionError, Sessions, Standing};

/// How often a stream looks.
const EVERY: Duration = Duration::from_secs(1);
/// How often a device that is logged in is asked where it stands before its reader is told that nobody knows.
const LAST_LOOKS: u32 = 3;
/// Events that wait for a slow reader.
const WAITING: usize = 8;
/// When somebody for whom there is no place should come again.
const COME_BACK: Duration = Duration::from_secs(10);

/// The streams of this process.
#[derive(Debug)]
pub(crate) struct QrStreams {
    settings: DeviceSettings,
    stop: CancellationToken,
    open: Arc<Mutex<HashMap<TenantId, usize>>>,
}

/// A stream's place among those of its tenant.
struct Place {
    open: Arc<Mutex<HashMap<TenantId, usize>>>,
    tenant: TenantId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.tenant);
            }
        }
        metrics::gauge!("kanal_qr_streams_open").decrement(1);
    }
}

impl QrStreams {
    /// Streams that end with the process.
    pub(crate) fn new(settings: DeviceSettings, stop: CancellationToken) -> Self {
        Self {
            settings,
            stop,
            open: Arc::default(),
        }
    }

    /// How long one may watch.
    pub(crate) const fn lasting(&self) -> Duration {
        self.settings.stream
    }

    fn take_place(&self, tenant: &TenantId) -> Result<Place, ApiError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(tenant.clone()).or_default();
        if *count >= self.settings.streams {
            return Err(ApiError::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_streams",
                "As many streams are open as the village may have",
            )
            .retry_after(COME_BACK));
        }
        *count += 1;
        metrics::gauge!("kanal_qr_streams_open").increment(1);
        Ok(Place {
            open: Arc::clone(&self.open),
            tenant: tenant.clone(),
        })
    }

    /// Begins a stream about a device that is known to be the tenant's.
    ///
    /// # Errors
    /// 429 when the tenant has as many as it may have.
    pub(crate) fn begin(
        &self,
        sessions: Arc<Sessions>,
        scope: &TenantScope,
        device: AccountId,
    ) -> Result<HttpResponse, ApiError> {
        let place = self.take_place(scope.tenant())?;
        let (events, taken) = mpsc::channel(WAITING);
        let watcher = Watcher {
            sessions,
            scope: scope.clone(),
            device,
            settings: self.settings,
            events,
        };
        let stop = self.stop.clone();
        tokio::spawn(async move {
            // Whoever has left is noticed when nothing can be written any more.
            tokio::select! {
                () = watcher.watch() => {}
                () = watcher.events.closed() => {}
                () = stop.cancelled() => {}
            }
            drop(place);
        });
        Ok(HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, "text/event-stream"))
            .insert_header((CACHE_CONTROL, "no-store"))
            // A proxy that waits for more would hold codes back until they are worth nothing.
            .insert_header(("x-accel-buffering", "no"))
            .streaming(ReceiverStream::new(taken).map(Ok::<_, std::io::Error>)))
    }
}

struct Watcher {
    sessions: Arc<Sessions>,
    scope: TenantScope,
    device: AccountId,
    settings: DeviceSettings,
    events: mpsc::Sender<Bytes>,
}

impl Watcher {
    async fn watch(&self) {
        let until = Instant::now() + self.settings.stream;
        let mut seen = Seen::default();
        let mut silent_since = Instant::now();
        loop {
            if Instant::now() >= until {
                self.tell("expired", &json!({"reason": "time_is_over"})).await;
                return;
            }
            match self.sessions.sight(&self.scope, self.device).await {
                Ok(sight) => match seen.news(sight) {
                    News::None => {}
                    News::Code(code) => {
                        silent_since = Instant::now();
                        self.tell("qr", &json!({"qr": code, "status": "qr_waiting"}))
                            .await;
                    }
                    News::LoggedIn => return self.tell_logged_in().await,
                    News::RanOut => return self.tell("expired", &json!({"reason": "codes_ran_out"})).await,
                    News::NotRunning => return self.tell("expired", &json!({"reason": "not_running"})).await,
                    News::Trouble(code) => return self.tell("error", &json!({"code": code})).await,
                },
                Err(error) => {
                    if !matches!(error, SessionError::NoDevice | SessionError::NotMade) {
                        tracing::warn!(error = %crate::error::chain(&error), "a device could not be looked at");
                    }
                    let code = match error {
                        SessionError::NoDevice => "device_not_found",
                        SessionError::NotMade => "device_without_session",
                        _ => "temporarily_unavailable",
                    };
                    return self.tell("error", &json!({"code": code})).await;
                }
            }
            if silent_since.elapsed() >= self.settings.heartbeat {
                silent_since = Instant::now();
                self.write(Bytes::from_static(b": still here\n\n")).await;
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn tell_logged_in(&self) {
        let mut looks = 1;
        let device = loop {
            match self.sessions.device(&self.scope, self.device).await {
                // The server was slow to say it, or is busy: it was there a moment ago.
                Ok(view) if view.standing == Standing::Unknown && looks < LAST_LOOKS => {
                    looks += 1;
                    tokio::time::sleep(EVERY).await;
                }
                Ok(view) => {
                    let is_connected = matches!(view.standing, Standing::Known { connected: true, .. });
                    let device = json!({"device": wire(&view)});
                    if is_connected {
                        self.tell("connected", &device).await;
                    }
                    break device;
                }
                Err(_) => break json!({}),
            }
        };
        self.tell("logged_in", &device).await;
    }

    async fn tell(&self, event: &str, data: &Value) {
        // JSON on one line, so one line of data.
        self.write(Bytes::from(format!("event: {event}\ndata: {data}\n\n")))
            .await;
    }

    async fn write(&self, bytes: Bytes) {
        // Nobody is there to take it: the watch ends.
        drop(self.events.send(bytes).await);
    }
}
