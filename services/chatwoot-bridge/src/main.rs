//! The executable.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    runtime::tls::install_crypto_provider();
    chatwoot_bridge::cli::run().await
}
