//! The HTTP side: one listener, one handler, the mounts behind it and the faults in front of them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{Server, ServerHandle};
use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};

use crate::faults::Instead;
use crate::http::{Answer, Call};
use crate::hub::{Hub, RequestEntry, lock};
use crate::{StartError, chatwoot, control, gowa, graph, s3, support, wa};

/// Inline media travels in bodies, so the bound is wide; there is one all the same.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

pub(crate) fn listen(
    hub: &Arc<Hub>,
    address: SocketAddr,
) -> Result<(Server, ServerHandle, SocketAddr), StartError> {
    let listener = TcpListener::bind(address).map_err(|source| StartError::Bind { address, source })?;
    let bound = listener.local_addr().map_err(StartError::Listen)?;
    let data = web::Data::from(Arc::clone(hub));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .app_data(web::PayloadConfig::new(BODY_LIMIT))
            .default_service(web::to(handle))
    })
    .workers(2)
    .disable_signals()
    .shutdown_timeout(1)
    .keep_alive(Duration::from_secs(75))
    // A busy machine lets whole seconds pass between a connection and its first words; that is no fault to imitate.
    .client_request_timeout(Duration::from_secs(60))
    .listen(listener)
    .map_err(StartError::Listen)?
    .run();
    let handle = server.handle();
    Ok((server, handle, bound))
}

async fn handle(request: HttpRequest, body: Bytes, hub: web::Data<Hub>) -> HttpResponse {
    let hub = hub.into_inner();
    let (mount, call) = read(&request, body);
    let moment = hub.now();
    if mount == "_sim" || mount == "health" {
        return respond(dispatch(&hub, &mount, &call).await);
    }
    let fate = lock(&hub.faults).for_request(&call.method, &call.path);
    if !fate.delay.is_zero() {
        tokio::time::sleep(fate.delay).await;
    }
    let faulted = fate.instead.is_some() || fate.lose_answer_after.is_some() || fate.answer_with.is_some();
    let answer = match (fate.instead, fate.lose_answer_after) {
        (Some(Instead::Cut), _) => Answer::cut(),
        (
            Some(Instead::Status {
                status,
                body,
                retry_after,
            }),
            _,
        ) => Answer {
            retry_after,
            ..said(status, body)
        },
        (None, Some(wait)) => {
            let _committed = dispatch(&hub, &mount, &call).await;
            tokio::time::sleep(wait).await;
            Answer::cut()
        }
        (None, None) => {
            let answer = dispatch(&hub, &mount, &call).await;
            if !answer.hold.is_zero() {
                tokio::time::sleep(answer.hold).await;
            }
            if !fate.answer_after.is_zero() {
                tokio::time::sleep(fate.answer_after).await;
            }
            match fate.answer_with {
                Some((status, body)) => said(status, body),
                None => answer,
            }
        }
    };
    lock(&hub.requests).push(|seq| RequestEntry {
        seq,
        moment,
        method: call.method,
        path: call.path,
        status: (!answer.cut).then_some(answer.status),
        faulted,
    });
    respond(answer)
}

fn said(status: u16, body: Option<serde_json::Value>) -> Answer {
    match body {
        Some(serde_json::Value::String(text)) => Answer::text(status, text),
        Some(json) => Answer::json(status, &json),
        None => Answer::text(status, ""),
    }
}

async fn dispatch(hub: &Arc<Hub>, mount: &str, call: &Call) -> Answer {
    match mount {
        "wa" => wa::answer(hub, call),
        "support" => support::answer(hub, call),
        "chatwoot" => chatwoot::answer(hub, call),
        "rails" => chatwoot::answer(hub, &of_chatwoot(call.clone(), mount)),
        "gowa" => gowa::answer(hub, call),
        "graph" => graph::answer(hub, call).await,
        "s3" => s3::answer(hub, call),
        "_sim" => control::answer(hub, call).await,
        "health" => Answer::ok(&serde_json::json!({"status": "ok"})),
        _ => Answer::text(
            404,
            "nothing here; mounts are /wa, /support, /chatwoot, /gowa, /graph, /s3 and /_sim\n",
        ),
    }
}

/// Files are also found where Chatwoot has them when it has a host to itself.
fn of_chatwoot(mut call: Call, mount: &str) -> Call {
    call.segments.insert(0, mount.to_owned());
    call
}

fn read(request: &HttpRequest, body: Bytes) -> (String, Call) {
    let path = request.path().to_owned();
    let mut segments: Vec<String> = path.split('/').skip(1).map(decode).collect();
    let mount = if segments.is_empty() {
        String::new()
    } else {
        segments.remove(0)
    };
    let query = form_urlencoded::parse(request.query_string().as_bytes())
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        })
        .collect();
    let call = Call {
        method: request.method().as_str().to_owned(),
        path,
        segments,
        query,
        headers,
        body,
    };
    (mount, call)
}

/// Percent-decodes one path segment; a plus sign stays a plus sign.
fn decode(segment: &str) -> String {
    let protected = segment.replace('+', "%2B");
    form_urlencoded::parse(protected.as_bytes())
        .next()
        .map(|(key, _)| key.into_owned())
        .unwrap_or_default()
}

fn respond(answer: Answer) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    if answer.cut {
        return response.force_close().body(Broken);
    }
    if let Some(wait) = answer.retry_after {
        response.insert_header(("retry-after", wait));
    }
    response.content_type(answer.content_type);
    for (name, value) in answer.headers {
        response.insert_header((name, value));
    }
    response.body(answer.body)
}

/// A body that fails before its first byte. The server then drops the connection with the head still unsent, so the
/// client sees a closed connection and no status.
struct Broken;

impl MessageBody for Broken {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(1)
    }

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Bytes, Self::Error>>> {
        std::task::Poll::Ready(Some(Err(io::Error::other("cut on purpose"))))
    }
}
