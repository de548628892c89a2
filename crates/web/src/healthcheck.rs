//! The other side of `/health/ready`: what a container's health check runs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Why the service is not ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// Nothing answers on the address.
    #[error("no answer from {0}")]
    NoAnswer(SocketAddr),
    /// It answers that it is not ready.
    #[error("the service says: {0}")]
    Says(String),
}

/// Asks the service on `address` whether it is ready. For a service that listens on every address, asks this machine.
///
/// # Errors
/// [`NotReady`].
pub async fn run(address: SocketAddr) -> Result<(), NotReady> {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let address = SocketAddr::new(ip, address.port());
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(
                format!("GET /health/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
                    .as_bytes(),
            )
            .await?;
        let mut answer = String::new();
        stream.take(16 * 1024).read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match tokio::time::timeout(Duration::from_secs(5), ask).await {
        Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200") => Ok(()),
        Ok(Ok(answer)) => Err(NotReady::Says(
            answer.lines().last().unwrap_or_default().to_owned(),
        )),
        Ok(Err(_)) | Err(_) => Err(NotReady::NoAnswer(address)),
    }
}
