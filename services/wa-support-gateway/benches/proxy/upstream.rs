//! The WA server of the benchmark: answers every send at once, echoes what is large, and makes users.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

type Body = BoxBody<Bytes, hyper::Error>;

static USERS: AtomicU64 = AtomicU64::new(0);

/// People whom every session knows.
pub(crate) const CONTACTS: usize = 10_000;

static LISTED: LazyLock<Bytes> = LazyLock::new(|| {
    let people: serde_json::Map<String, serde_json::Value> = (0..CONTACTS)
        .map(|number| {
            let person = serde_json::json!({"Found": true, "FirstName": "", "FullName": format!("Warga {number:05}"),
                "PushName": format!("w{number}"), "BusinessName": "", "RedactedPhone": ""});
            (format!("62811{number:07}@s.whatsapp.net"), person)
        })
        .collect();
    Bytes::from(serde_json::json!({"code": 200, "data": people, "success": true}).to_string())
});

/// Listens on a thread of its own, so that it is the same for everybody who is measured.
pub(crate) async fn start() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                tokio::spawn(serving);
            }
        });
    });
    address
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    if path.ends_with("/chat/send/video") {
        // What came in goes out again, piece by piece.
        let pieces = BodyStream::new(body)
            .map(|frame| frame.map(|frame| Frame::data(frame.into_data().unwrap_or_default())));
        return Ok(Response::new(BoxBody::new(StreamBody::new(pieces))));
    }
    let text = if path.ends_with("/user/contacts") {
        LISTED.clone()
    } else if path.ends_with("/admin/users") {
        let id = USERS.fetch_add(1, Ordering::Relaxed);
        if parts.method == hyper::Method::GET {
            Bytes::from_static(br#"{"code":200,"data":[],"success":true}"#)
        } else {
            Bytes::from(format!(
                r#"{{"code":201,"data":{{"id":"{id:032x}"}},"success":true}}"#
            ))
        }
    } else if path.ends_with("/webhook") {
        // What sessions without an address of their own were told.
        Bytes::from_static(br#"{"code":200,"data":{"webhook":"","subscribe":["All"]},"success":true}"#)
    } else {
        Bytes::from_static(
            br#"{"code":200,"data":{"Details":"Sent","Id":"3EB0A9253FA64269E11C9D","Timestamp":"2026-02-17T09:15:04Z"},"success":true}"#,
        )
    };
    // Read to the end, as a server that uses the connection again does.
    let mut body = body;
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            break;
        }
    }
    let full = Full::new(text).map_err(|never| match never {});
    let mut response = Response::new(BoxBody::new(full));
    response
        .headers_mut()
        .insert("content-type", "application/json".parse().unwrap());
    Ok(response)
}
