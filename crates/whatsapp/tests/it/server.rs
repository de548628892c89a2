//! A server that answers once, exactly as told, and remembers what it was asked.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How the server treats the one request it gets.
#[derive(Clone)]
pub(crate) enum Manner {
    /// Writes these bytes and closes.
    Say(Vec<u8>),
    /// Says nothing for so long, with the connection open.
    Wait(Duration),
}

/// Answers as many requests as there are manners, one connection each; returns what it was asked.
pub(crate) async fn serve(manners: Vec<Manner>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1/wa", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let mut asked = Vec::new();
        for manner in manners {
            let (socket, _) = listener.accept().await.unwrap();
            asked.push(meet(socket, manner).await);
        }
        asked
    });
    (base, asked)
}

async fn meet(mut socket: TcpStream, manner: Manner) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !is_whole(&request) {
        match socket.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(length) => request.extend_from_slice(&buffer[..length]),
        }
    }
    match manner {
        Manner::Say(bytes) => {
            // The client may hang up first, when it has heard enough.
            let _ = socket.write_all(&bytes).await;
            let _ = socket.shutdown().await;
        }
        Manner::Wait(time) => tokio::time::sleep(time).await,
    }
    String::from_utf8(request).unwrap()
}

/// Where it listens, and what it was asked when it is done.
pub(crate) struct Server {
    pub(crate) base: String,
    pub(crate) asked: JoinHandle<String>,
}

impl Server {
    pub(crate) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1/wa", listener.local_addr().unwrap());
        let asked = tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            meet(socket, manner).await
        });
        Self { base, asked }
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0);
    body.len() >= length
}

/// A whole answer.
pub(crate) fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Status\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}
