//! Connecting in a way that can be given up.
//!
//! The library's handshake cannot: a dropped attempt leaves a thread behind that waits for the server's word for as
//! long as the socket is open, and a broker that froze gets a new attempt every few seconds. So the socket is closed
//! together with the attempt.

use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};

use lapin::tcp::OwnedTLSConfig;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};

/// Connects to the broker. Dropping the future ends everything that was begun.
pub(crate) async fn connect(
    uri: AMQPUri,
    properties: ConnectionProperties,
) -> Result<Connection, lapin::Error> {
    let attempt = Attempt::default();
    let socket = Arc::clone(&attempt.0);
    let connecting = Connection::connector(
        uri,
        lapin::runtime::default_runtime()?,
        async move |uri: AMQPUri, runtime| {
            let address = (uri.authority.host.clone(), uri.authority.port);
            let stream = AsyncTcpStream::connect(&runtime, runtime.to_socket_addrs(address)).await?;
            if let AsyncTcpStream::Plain(plain) = &stream {
                let same = std::net::TcpStream::from(plain.get_ref().as_fd().try_clone_to_owned()?);
                Attempt::note(&socket, same)?;
            }
            match uri.scheme {
                AMQPScheme::AMQP => Ok(stream),
                AMQPScheme::AMQPS => {
                    let tls = OwnedTLSConfig::default();
                    Ok(stream.into_tls(&uri.authority.host, tls.as_ref()).await?)
                }
            }
        },
        properties,
    );
    let connection = connecting.await?;
    attempt.succeeded();
    Ok(connection)
}

/// A handshake that is under way.
#[derive(Default)]
struct Attempt(Arc<Mutex<Socket>>);

#[derive(Default)]
enum Socket {
    #[default]
    NotYet,
    Open(std::net::TcpStream),
    GivenUp,
}

impl Attempt {
    /// Notes the socket of the attempt, unless nobody waits for it any more.
    fn note(socket: &Mutex<Socket>, opened: std::net::TcpStream) -> std::io::Result<()> {
        let mut socket = socket.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*socket, Socket::GivenUp) {
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        *socket = Socket::Open(opened);
        Ok(())
    }

    fn succeeded(self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Socket::NotYet;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Socket::Open(open) = std::mem::replace(&mut *socket, Socket::GivenUp) {
            // It may be closed already, which is just as well.
            drop(open.shutdown(Shutdown::Both));
        }
    }
}
