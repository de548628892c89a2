//! The one TLS stack of the process: rustls with ring.

/// Makes ring the process's TLS provider. Every `main` calls it first, because an HTTP client built before that
/// would panic. A second call changes nothing.
pub fn install_crypto_provider() {
    // An error only says that a provider is installed already, which is what we want.
    drop(rustls::crypto::ring::default_provider().install_default());
}
