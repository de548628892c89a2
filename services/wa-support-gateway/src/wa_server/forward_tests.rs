//! Which connection a request goes out on.

use std::sync::Mutex;

use futures_util::future::join_all;
use runtime::config::{BaseUrl, Setting as _};
use test_support::eventually;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A WA server of a few lines, which numbers its connections.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    /// The connection that each request came on.
    used: Vec<usize>,
    /// How many connections ended.
    ended: usize,
}

const SHORT: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

impl Server {
    async fn start() -> (Self, Forwarder) {
        Self::start_keeping(KEPT_FOR).await
    }

    async fn start_keeping(kept_for: Duration) -> (Self, Forwarder) {
        test_support::install_crypto_provider();
        let (server, listener) = (Self::default(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = server.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().connection(stream, number));
            }
        });
        let settings = WaServerSettings {
            url: BaseUrl::from_text(&url).unwrap(),
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(5),
        };
        (server, Forwarder::keeping(&settings, kept_for).unwrap())
    }

    async fn connection(self, mut stream: TcpStream, number: usize) {
        while let Some(path) = head(&mut stream).await {
            self.0.lock().unwrap().used.push(number);
            let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
            let announced = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 2 * WHOLE);
            let answer = match path.as_str() {
                "/chat/chunked" => chunked.to_vec(),
                "/chat/empty" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
                "/chat/head" | "/chat/half" => announced.into_bytes(),
                "/chat/long" => [announced.into_bytes(), vec![b'a'; 2 * WHOLE as usize]].concat(),
                _ => SHORT.to_vec(),
            };
            if stream.write_all(&answer).await.is_err() || path == "/chat/last" {
                break;
            }
        }
        self.0.lock().unwrap().ended += 1;
    }

    fn used(&self) -> Vec<usize> {
        self.0.lock().unwrap().used.clone()
    }

    /// Waits until so many connections have ended, also for the forwarder.
    async fn ended(&self, count: usize) {
        eventually("connections end", || async {
            (self.0.lock().unwrap().ended == count).then_some(())
        })
        .await;
    }
}

/// The path of the next request, whose body is taken to be none.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(stream.read_u8().await.ok()?);
    }
    let line = String::from_utf8(read).unwrap();
    line.split(' ').nth(1).map(str::to_owned)
}

fn request(method: Method, path: &str) -> ForwardRequest {
    ForwardRequest {
        path: ProxyPath::judge(method.as_str(), path).unwrap(),
        method,
        query: None,
        token: Arc::new(SecretString::from("token")),
        content_type: None,
        accept: None,
        body: None,
    }
}

async fn forward(forwarder: &Forwarder, method: Method, path: &str) -> Answer {
    forwarder.forward(request(method, path)).await.unwrap()
}

/// Reads what is announced and no further, as the HTTP server does.
async fn read(answer: Answer) -> usize {
    let announced = announced(&answer.headers);
    match answer.body {
        AnswerBody::Whole(body) => body.len(),
        AnswerBody::Pieces(mut pieces) => {
            let mut length = 0;
            while announced != Some(length as u64)
                && let Some(piece) = pieces.try_next().await.unwrap()
            {
                length += piece.len();
            }
            length
        }
    }
}

#[tokio::test]
async fn every_answer_that_was_read_leaves_its_connection_to_the_next_request() {
    let (server, forwarder) = Server::start().await;
    for (path, length) in [
        ("/chat/short", 2),
        ("/chat/long", 2 * WHOLE as usize),
        ("/chat/chunked", 2),
        ("/chat/empty", 0),
        ("/chat/short", 2),
    ] {
        assert_eq!(
            read(forward(&forwarder, Method::GET, path).await).await,
            length,
            "{path}"
        );
        // Nobody reads the body that an answer to a HEAD announces.
        drop(forward(&forwarder, Method::HEAD, "/chat/head").await);
    }
    assert_eq!(server.used(), [0; 10]);
}

#[tokio::test]
async fn what_the_server_has_closed_is_not_used_again() {
    let (server, forwarder) = Server::start().await;
    for closed in 1..=3 {
        read(forward(&forwarder, Method::GET, "/chat/last").await).await;
        server.ended(closed).await;
    }
    assert_eq!(server.used(), [0, 1, 2]);
}

#[tokio::test]
async fn an_answer_that_is_given_up_takes_its_connection_along() {
    let (server, forwarder) = Server::start().await;
    let half = forward(&forwarder, Method::GET, "/chat/half").await;
    drop(half);
    server.ended(1).await;
    read(forward(&forwarder, Method::GET, "/chat/short").await).await;
    assert_eq!(server.used(), [0, 1]);
}

#[tokio::test]
async fn a_connection_that_still_takes_a_body_is_nobody_elses() {
    let (server, forwarder) = Server::start().await;
    let mut early = request(Method::POST, "/chat/early");
    let (more, rest) = tokio::sync::oneshot::channel::<()>();
    let first = stream::once(async { Ok(Bytes::from_static(b"first")) });
    let last = stream::once(async move {
        let _ = rest.await;
        Ok(Bytes::from_static(b"last!"))
    });
    early.body = Some(ForwardBody::Pieces {
        length: Some(10),
        pieces: first.chain(last).boxed(),
    });
    // Answered as soon as its head is there.
    read(forwarder.forward(early).await.unwrap()).await;
    for _ in 0..2 {
        read(forward(&forwarder, Method::GET, "/chat/short").await).await;
    }
    assert_eq!(server.used(), [0, 1, 1]);
    more.send(()).unwrap();
    // Busy, and not given up: once the body is through it is one of those that many requests at once use.
    for many in 2..40 {
        let requests = (0..many).map(|_| forward(&forwarder, Method::GET, "/chat/short"));
        for answer in join_all(requests).await {
            read(answer).await;
        }
        if server.used().iter().filter(|number| **number == 0).count() > 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the first connection is gone: {:?}", server.used());
}

#[tokio::test]
async fn what_nobody_needs_for_long_is_closed() {
    let (server, forwarder) = Server::start_keeping(Duration::from_millis(300)).await;
    let (one, another) = tokio::join!(
        forward(&forwarder, Method::GET, "/chat/long"),
        forward(&forwarder, Method::GET, "/chat/long"),
    );
    read(one).await;
    read(another).await;
    assert_eq!(server.0.lock().unwrap().ended, 0);
    server.ended(2).await;
    read(forward(&forwarder, Method::GET, "/chat/short").await).await;
    server.ended(3).await;
    assert_eq!(server.used(), [0, 1, 2]);
}
