//! The binary: `serve` (default), `migrate`, `healthcheck`, `config` and the chores.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    runtime::tls::install_crypto_provider();
    wa_support_gateway::cli::run().await
}
