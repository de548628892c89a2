//! Encrypted connections: libpq's `sslmode` and `sslrootcert`, of which only the safe ones are spoken.
//!
//! Whoever asks for TLS gets it, from a server that proves who it is: nothing is encrypted towards a stranger, and nothing
//! goes on in the clear with a server that has none. So `require` means here what `verify-full` does.

use std::error::Error as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Error, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::InvalidDatabaseUrl;

/// More is no list of authorities; the longest of a cloud has a quarter of it.
const LONGEST: u64 = 1024 * 1024;
/// libpq's word for the authorities of this machine, which are also meant without any word.
const SYSTEM: &str = "system";

/// What goes over the wire, plain or encrypted.
pub(crate) type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// How the connections of a URL are made.
#[derive(Clone)]
pub(crate) struct Tls {
    mode: SslMode,
    connector: MakeRustlsConnect,
}

impl Tls {
    /// Reads a URL's `sslmode` and `sslrootcert`, and the file that the latter names.
    pub(crate) fn read(mode: Option<&str>, roots: Option<&str>) -> Result<Self, InvalidDatabaseUrl> {
        let (mode, roots) = match (mode, roots) {
            (None | Some("disable"), None) => (SslMode::Disable, RootCertStore::empty()),
            (None | Some("disable"), Some(_)) => return Err(InvalidDatabaseUrl::RootsWithoutTls),
            (Some("require" | "verify-full"), None | Some(SYSTEM)) => (SslMode::Require, system_roots()?),
            (Some("require" | "verify-full"), Some(path)) => (SslMode::Require, roots_in(path)?),
            (Some(_), _) => return Err(InvalidDatabaseUrl::Mode),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| InvalidDatabaseUrl::NoTls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            mode,
            connector: MakeRustlsConnect::new(config),
        })
    }

    pub(crate) fn is_on(&self) -> bool {
        self.mode == SslMode::Require
    }

    /// Connects, as the URL says and not as the driver's own words for it would have it.
    pub(crate) async fn connect(
        &self,
        mut options: Config,
    ) -> Result<(Client, Connection<Socket, Stream>), Error> {
        options.ssl_mode(self.mode);
        options.connect(self.connector.clone()).await
    }
}

fn system_roots() -> Result<RootCertStore, InvalidDatabaseUrl> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(InvalidDatabaseUrl::NoSystemRoots);
    }
    Ok(roots)
}

fn roots_in(path: &str) -> Result<RootCertStore, InvalidDatabaseUrl> {
    read_roots(Path::new(path)).map_err(|why| InvalidDatabaseUrl::Roots {
        path: path.to_owned(),
        why,
    })
}

fn read_roots(path: &Path) -> Result<RootCertStore, &'static str> {
    // A pipe or a device could keep us waiting for ever.
    if !path.metadata().map_err(|_| "cannot be read")?.is_file() {
        return Err("is not a file");
    }
    let file = File::open(path).map_err(|_| "cannot be read")?;
    let mut pem = Vec::new();
    file.take(LONGEST + 1)
        .read_to_end(&mut pem)
        .map_err(|_| "cannot be read")?;
    if pem.len() as u64 > LONGEST {
        return Err("has more than 1 MiB");
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| "is not PEM")?;
        roots
            .add(certificate)
            .map_err(|_| "has a certificate that cannot be read")?;
    }
    if roots.is_empty() {
        return Err("has no certificate in it (PEM)");
    }
    Ok(roots)
}

/// Why a connection was not encrypted, and therefore not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The server speaks no TLS.
    NotSpoken,
    /// Nobody whom we trust signed the server's certificate.
    UnknownAuthority,
    /// The certificate is another host's.
    OtherName,
    /// It is not valid at this time.
    OutOfTime,
    /// Something else.
    Handshake,
}

impl Trouble {
    /// `None`: TLS is not what went wrong.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        // The driver has no other way of telling.
        if error.to_string() != "error performing TLS handshake" {
            return None;
        }
        let cause = error.source()?;
        if cause.to_string() == "server does not support TLS" {
            return Some(Self::NotSpoken);
        }
        let broken = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        Some(
            match broken.and_then(|error| error.downcast_ref::<rustls::Error>()) {
                Some(rustls::Error::InvalidCertificate(error)) => match error {
                    // The latter is another authority of the same name.
                    CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                        Self::UnknownAuthority
                    }
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                        Self::OtherName
                    }
                    CertificateError::Expired
                    | CertificateError::ExpiredContext { .. }
                    | CertificateError::NotValidYet
                    | CertificateError::NotValidYetContext { .. } => Self::OutOfTime,
                    _ => Self::Handshake,
                },
                _ => Self::Handshake,
            },
        )
    }
}
