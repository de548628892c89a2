//! How much memory large bodies and many customers take.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use test_support::TestProcessDatabase;
use tokio::net::TcpStream;

use crate::service::{self, Service};

const MIB: usize = 1024 * 1024;
/// A body of the size that the proxy's limit allows.
const BODY_MIB: usize = 100;

/// 100 MiB through the proxy and back, alone and fifty at once.
pub(crate) async fn streams(gateway: &Service, token: &str) {
    println!("\n{BODY_MIB} MiB both ways: how much resident memory grows");
    for at_once in [1, 50] {
        gateway.forget_peak();
        let before = gateway.resident_mib();
        let all = (0..at_once).map(|_| tokio::spawn(one(gateway.address(), token.to_owned())));
        for one in all.collect::<Vec<_>>() {
            assert_eq!(one.await.unwrap(), BODY_MIB * MIB, "everything comes back");
        }
        println!("{at_once:>11} at once: {:.1} MiB", gateway.peak_mib() - before);
    }
}

async fn one(address: SocketAddr, token: String) -> usize {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let piece = Bytes::from(vec![b'x'; 64 * 1024]);
    let pieces =
        (0..BODY_MIB * MIB / piece.len()).map(move |_| Ok::<_, std::io::Error>(Frame::data(piece.clone())));
    let request = Request::post("/wa/chat/send/video")
        .header("host", "bench")
        .header("token", token)
        .header("content-length", BODY_MIB * MIB)
        .body(StreamBody::new(stream::iter(pieces)))
        .unwrap();
    let mut body = sender.send_request(request).await.unwrap().into_body();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame.unwrap().data_ref().map_or(0, Bytes::len);
    }
    read
}

/// Customers that do nothing, each with a session.
pub(crate) async fn at_rest(database: &TestProcessDatabase, upstream: SocketAddr, customers: usize) {
    let rows = format!(
        "SET search_path = wa_support, public; \
             INSERT INTO wa_support.customers (tenant_id, source_service) \
             SELECT 'idle-' || n, 'bench' FROM generate_series(1, {customers}) n; \
             INSERT INTO wa_support.subscriptions (tenant_id, id, provider, expires_at) \
             SELECT 'idle-' || n, gen_random_uuid(), 'genfity-wa', '2099-12-31' FROM generate_series(1, {customers}) n; \
             INSERT INTO wa_support.sessions (tenant_id, id, provider, session_id, session_name, token_hash, token_sealed, \
             hmac_key_sealed) SELECT 'idle-' || n, gen_random_uuid(), 'genfity-wa', md5(n::text), 'idle-' || n, md5(n::text), \
             'sealed', 'sealed' FROM generate_series(1, {customers}) n"
    );
    service::sql(database, &rows).await;
    let mut gateway = service::start(database, upstream).await;
    // The workers that look after all customers have had their first turn by then.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    println!(
        "\n{customers} customers and sessions at rest: {:.1} MiB resident",
        gateway.resident_mib()
    );
    gateway.stop().await;
}
