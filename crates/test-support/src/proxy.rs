//! A TCP proxy that can be cut: how a test takes a dependency away without touching it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Stands between a service and something it depends on.
#[derive(Debug)]
pub struct CuttableProxy {
    address: SocketAddr,
    open: Arc<AtomicBool>,
    cuts: watch::Sender<u64>,
}

impl CuttableProxy {
    /// Starts a proxy on a free port in front of the server that `url` names, on the current runtime.
    ///
    /// # Panics
    /// When `url` has no host or no port is free.
    pub async fn in_front_of(url: &str, default_port: u16) -> Self {
        let url = url::Url::parse(url).expect("the server's URL parses");
        let target = format!(
            "{}:{}",
            url.host_str().expect("has a host"),
            url.port().unwrap_or(default_port)
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (cuts, _) = watch::channel(0);
        let open = Arc::new(AtomicBool::new(true));
        let (accepting, cut) = (Arc::clone(&open), cuts.clone());
        tokio::spawn(async move {
            while let Ok((mut inbound, _)) = listener.accept().await {
                if !accepting.load(Ordering::SeqCst) {
                    continue;
                }
                let (target, mut cut) = (target.clone(), cut.subscribe());
                tokio::spawn(async move {
                    let Ok(mut outbound) = TcpStream::connect(target).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut inbound, &mut outbound) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { address, open, cuts }
    }

    /// `url` with the proxy's address in place of the server's.
    ///
    /// # Panics
    /// When `url` does not parse.
    #[must_use]
    pub fn url(&self, url: &str) -> String {
        let mut url = url::Url::parse(url).expect("the server's URL parses");
        url.set_host(Some("127.0.0.1")).expect("a host can be set");
        url.set_port(Some(self.address.port()))
            .expect("a port can be set");
        url.to_string()
    }

    /// Cuts every connection and refuses new ones.
    pub fn cut(&self) {
        self.open.store(false, Ordering::SeqCst);
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Lets connections through again.
    pub fn restore(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
}
