//! Two small servers: one that takes webhooks as they are posted, and one that answers calls with exactly these bytes.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::provider::Posted;

/// A request, read as a whole.
struct Request {
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Request {
    async fn read(socket: &mut TcpStream) -> Option<Self> {
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        let (head, length, start) = loop {
            let length = socket.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
            bytes.extend_from_slice(buffer.get(..length)?);
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(bytes.get(..end)?).into_owned();
                let length = header(&parsed(&head), "content-length")
                    .and_then(|text| text.parse::<usize>().ok())
                    .unwrap_or(0);
                break (head, length, end + 4);
            }
        };
        while bytes.len() < start + length {
            let read = socket.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
            bytes.extend_from_slice(buffer.get(..read)?);
        }
        Some(Self {
            path: head.split(' ').nth(1)?.to_owned(),
            headers: parsed(&head),
            body: Bytes::copy_from_slice(bytes.get(start..)?),
        })
    }
}

fn parsed(head: &str) -> Vec<(String, String)> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect()
}

fn header(headers: &[(String, String)], name: &str) -> Option<String> {
    let mut found = headers.iter().filter(|(known, _)| known == name);
    found.next().map(|(_, value)| value.clone())
}

/// Takes webhooks, and remembers them.
pub(crate) struct Receiver {
    pub(crate) url: String,
    posted: Arc<Mutex<Vec<Posted>>>,
}

impl Receiver {
    pub(crate) async fn start(signature: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let posted = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&posted);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let Some(request) = Request::read(&mut socket).await else {
                        return;
                    };
                    let posted = Posted {
                        content_type: header(&request.headers, "content-type"),
                        signature: header(&request.headers, signature),
                        body: request.body,
                    };
                    shared.lock().unwrap().push(posted);
                    say(&mut socket, &answer("200 OK", "", "")).await;
                });
            }
        });
        Self { url, posted }
    }

    /// Everything so far, in the order it came.
    pub(crate) fn posted(&self) -> Vec<Posted> {
        self.posted.lock().unwrap().clone()
    }
}

/// How a stub answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Sends us to where the real server is.
    RedirectTo(u16),
    /// Says success, and breaks off in the middle of the rest.
    HalfAnswer,
    /// Speaks something that is not HTTP.
    Gibberish,
    /// Refuses, and repeats everything it was shown.
    Echo,
}

/// A server that answers every call in one manner.
pub(crate) struct Stub {
    pub(crate) origin: String,
}

impl Stub {
    /// `elsewhere` is where redirects lead.
    pub(crate) async fn start(manner: Manner, elsewhere: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let elsewhere = elsewhere.to_owned();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let elsewhere = elsewhere.clone();
                tokio::spawn(async move {
                    let Some(request) = Request::read(&mut socket).await else {
                        return;
                    };
                    say(&mut socket, &bytes(manner, &request, &elsewhere)).await;
                });
            }
        });
        Self { origin }
    }
}

/// An address at which nobody listens.
pub(crate) async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn bytes(manner: Manner, request: &Request, elsewhere: &str) -> Vec<u8> {
    match manner {
        Manner::RedirectTo(status) => {
            let location = format!("location: {elsewhere}{}\r\n", request.path);
            answer(&format!("{status} Elsewhere"), &location, "")
        }
        Manner::HalfAnswer => b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"code\":".to_vec(),
        Manner::Gibberish => b"220 mail.example ESMTP\r\n".to_vec(),
        Manner::Echo => {
            let said = shown(request).join(" and ");
            let body = serde_json::json!({"error": said, "message": said, "code": 500}).to_string();
            answer("500 No", "content-type: application/json\r\n", &body)
        }
    }
}

/// What proves us first, in every spelling, for of long answers the beginning is kept.
fn shown(request: &Request) -> Vec<String> {
    let proves = |name: &str| matches!(name, "authorization" | "token");
    let (mut proofs, others): (Vec<_>, Vec<_>) = request.headers.iter().partition(|(name, _)| proves(name));
    proofs.extend(others);
    let mut shown = Vec::new();
    for (_, value) in proofs {
        let decoded = value
            .strip_prefix("Basic ")
            .and_then(|text| BASE64.decode(text).ok());
        if let Some(pair) = decoded.and_then(|pair| String::from_utf8(pair).ok()) {
            shown.extend(pair.split_once(':').map(|(_, password)| password.to_owned()));
            shown.push(pair);
        }
        shown.push(value.clone());
        if shown.len() <= 3 {
            shown.push(String::from_utf8_lossy(&request.body).into_owned());
        }
    }
    shown
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

async fn say(socket: &mut TcpStream, bytes: &[u8]) {
    // Whoever called may have heard enough.
    let _ = socket.write_all(bytes).await;
    let _ = socket.shutdown().await;
}
