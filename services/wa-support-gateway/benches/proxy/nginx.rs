//! nginx from the distribution, as a plain reverse proxy with the usual settings for speed.

use std::net::SocketAddr;
use std::process::Stdio;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};

pub(crate) struct Nginx {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

pub(crate) async fn start(upstream: SocketAddr) -> Nginx {
    let address = web::bind("127.0.0.1:0".parse().unwrap())
        .unwrap()
        .local_addr()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display();
    let conf = format!(
        "daemon off; worker_processes 2; pid {place}/nginx.pid; error_log {place}/error.log;\n\
         events {{ worker_connections 2048; }}\n\
         http {{ access_log off; client_max_body_size 200m; client_body_temp_path {place}/body; \
         proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;\n\
         upstream wa {{ server {upstream}; keepalive 512; }}\n\
         server {{ listen {address} backlog=4096; keepalive_requests 10000000; location /wa/ {{ proxy_pass http://wa/; \
         proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }} }}\n"
    );
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, conf).unwrap();
    let child = Command::new("nginx")
        .arg("-p")
        .arg(folder.path())
        .arg("-c")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("nginx is installed (Debian: nginx-light)");
    test_support::eventually("nginx listens", || async {
        TcpStream::connect(address).await.ok()
    })
    .await;
    Nginx {
        child,
        address,
        _folder: folder,
    }
}

impl Nginx {
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the process that was started, and with it its workers.
    pub(crate) async fn stop(mut self) {
        let pid = self.child.id().unwrap().to_string();
        Command::new("kill").arg(pid).status().await.unwrap();
        self.child.wait().await.unwrap();
    }
}
