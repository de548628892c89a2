//! Bodies that flow both ways at the same time: the WA server answers while it still reads, and each side may be slower
//! than the other.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use runtime::config::{BaseUrl, Setting as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::support::Gateway;

const MIB: usize = 1024 * 1024;

/// How somebody reads: so much at once, and now and then a pause.
#[derive(Debug, Clone, Copy)]
struct Pace {
    at_once: usize,
    pause_every: usize,
}

const FAST: Pace = Pace {
    at_once: 64 * 1024,
    pause_every: usize::MAX,
};
const SLOW: Pace = Pace {
    at_once: 7 * 1024,
    pause_every: 256 * 1024,
};

/// A WA server that answers each request at once with what it reads of it, and reads no more than it can answer.
async fn echoes(pace: Pace) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo(stream, pace));
        }
    });
    address
}

async fn echo(mut stream: TcpStream, pace: Pace) -> std::io::Result<()> {
    let head = head(&mut stream).await?;
    let framing = head
        .lines()
        .find(|line| line.starts_with("content-length") || line.starts_with("transfer-encoding"))
        .unwrap_or("content-length: 0");
    let length = framing.strip_prefix("content-length: ");
    stream
        .write_all(format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{framing}\r\n\r\n").as_bytes())
        .await?;
    let (mut from, mut to) = stream.split();
    match length.map(|length| length.trim().parse::<usize>().unwrap()) {
        Some(length) => pass(&mut from, &mut to, length, pace).await.map(drop),
        // Chunks are answered as they come, with their sizes; the connection ends with the caller.
        None => pass(&mut from, &mut to, usize::MAX, pace).await.map(drop),
    }
}

/// Everything up to the empty line, in small letters.
async fn head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).to_ascii_lowercase())
}

async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    length: usize,
    pace: Pace,
) -> std::io::Result<usize> {
    let (mut passed, mut piece) = (0, vec![0; pace.at_once]);
    let mut until_pause = pace.pause_every;
    while passed < length {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            break;
        }
        to.write_all(&piece[..read]).await?;
        passed += read;
        if until_pause <= read {
            tokio::time::sleep(Duration::from_millis(1)).await;
            until_pause = pace.pause_every;
        } else {
            until_pause -= read;
        }
    }
    Ok(passed)
}

/// Sends so much and reads the answer meanwhile; how much came back.
async fn call(port: u16, token: &str, length: usize, chunked: bool, pace: Pace) -> usize {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let framing = if chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {length}")
    };
    let request =
        format!("POST /wa/chat/send/video HTTP/1.1\r\nHost: g\r\ntoken: {token}\r\n{framing}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let (from, mut to) = stream.into_split();
    let mut from = BufReader::new(from);
    let sending = tokio::spawn(async move {
        let piece = vec![b'x'; 64 * 1024];
        for _ in 0..length / piece.len() {
            if chunked {
                to.write_all(format!("{:x}\r\n", piece.len()).as_bytes())
                    .await
                    .unwrap();
            }
            to.write_all(&piece).await.unwrap();
            if chunked {
                to.write_all(b"\r\n").await.unwrap();
            }
        }
        if chunked {
            to.write_all(b"0\r\n\r\n").await.unwrap();
        }
        to
    });
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(from.read_u8().await.unwrap());
    }
    assert!(
        read.starts_with(b"HTTP/1.1 200 "),
        "{}",
        String::from_utf8_lossy(&read)
    );
    let mut came = 0;
    if chunked {
        loop {
            let mut size = Vec::new();
            while !size.ends_with(b"\r\n") {
                size.push(from.read_u8().await.unwrap());
            }
            let size = usize::from_str_radix(String::from_utf8_lossy(&size).trim(), 16).unwrap();
            let framed = size + 2;
            let mut chunk = (&mut from).take(framed as u64);
            let taken = pass(&mut chunk, &mut tokio::io::sink(), framed, pace)
                .await
                .unwrap();
            assert_eq!(taken, framed);
            came += size;
            if size == 0 {
                break;
            }
        }
    } else {
        came = pass(&mut from, &mut tokio::io::sink(), length, pace)
            .await
            .unwrap();
    }
    drop(sending.await.unwrap());
    came
}

/// Each way of sending, with each side slower than the other, several at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_answered_while_it_is_sent_comes_to_its_end() {
    let at_once = std::env::var("DUPLEX_AT_ONCE").map_or(4, |many| many.parse().unwrap());
    let length = std::env::var("DUPLEX_MIB").map_or(8, |mib| mib.parse().unwrap()) * MIB;
    for (upstream, caller) in [(FAST, FAST), (SLOW, FAST), (FAST, SLOW), (SLOW, SLOW)] {
        let echo = echoes(upstream).await;
        let gateway = Gateway::start_with(|settings| {
            settings.wa_server.url = BaseUrl::from_text(&format!("http://{echo}")).unwrap();
        })
        .await;
        let session = gateway.session("desa-a").await;
        for chunked in [false, true] {
            let calls = (0..at_once).map(|_| call(gateway.port, &session.token, length, chunked, caller));
            let all = tokio::time::timeout(Duration::from_secs(300), join_all(calls)).await;
            assert_eq!(
                all.ok(),
                Some(vec![length; at_once]),
                "chunked: {chunked}, WA server: {upstream:?}, caller: {caller:?}"
            );
        }
        gateway.stop().await;
    }
}
