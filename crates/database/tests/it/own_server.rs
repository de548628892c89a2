//! A Postgres of its own, which lets nobody in without TLS, and the authority that signed its certificate.

use std::fs::{File, metadata};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use test_support::eventually;

/// Whom the server's certificate names. No name service knows it: URLs say where that is.
const HOST: &str = "db.test";
const PASSWORD: &str = "s3cret";

/// The server, which ends with this value.
pub(crate) struct OwnServer {
    server: Child,
    port: u16,
    home: Home,
}

impl OwnServer {
    /// Makes the cluster and the certificates, and waits until it answers.
    pub(crate) async fn start() -> Self {
        let (home, programs) = (Home::make(), programs());
        std::fs::write(home.path("password"), PASSWORD).unwrap();
        home.authority("trusted");
        home.authority("another");
        home.certificate(
            HOST,
            &[
                "-CA=trusted.pem",
                "-CAkey=trusted.key",
                "-keyout=server.key",
                "-out=server.pem",
                &format!("-addext=subjectAltName=DNS:{HOST}"),
                "-addext=basicConstraints=CA:FALSE",
            ],
        );
        let initdb = programs.join("initdb");
        home.run(home.command(&initdb).args([
            "--pgdata=data",
            "--username=admin",
            "--pwfile=password",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]));
        let rules = "hostssl all all 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(home.path("data/pg_hba.conf"), rules).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut postgres = home.command(&programs.join("postgres"));
        postgres.args(["-D", "data", "-p", &port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "shared_buffers=16MB",
            "ssl=on",
            "ssl_cert_file=../server.pem",
            "ssl_key_file=../server.key",
        ] {
            postgres.args(["-c", setting]);
        }
        let log = File::create(home.path("log")).unwrap();
        let server = postgres.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let own = Self { server, port, home };
        let (ready, port) = (programs.join("pg_isready"), port.to_string());
        eventually("Postgres answers", async || {
            let asked = Command::new(&ready)
                .args(["-q", "-h", "127.0.0.1", "-p", &port])
                .status();
            asked.unwrap().success().then_some(())
        })
        .await;
        own
    }

    /// Where it is, for `user` and with these parameters besides.
    pub(crate) fn url(&self, parameters: &str) -> String {
        self.url_as(HOST, parameters)
    }

    /// As [`Self::url`], under another name.
    pub(crate) fn url_as(&self, host: &str, parameters: &str) -> String {
        let port = self.port;
        format!("postgres://admin:{PASSWORD}@{host}:{port}/postgres?hostaddr=127.0.0.1{parameters}")
    }

    /// The parameter that names the authority which signed the server's certificate.
    pub(crate) fn trusted(&self) -> String {
        self.roots("trusted.pem")
    }

    /// The parameter that names one which did not.
    pub(crate) fn another(&self) -> String {
        self.roots("another.pem")
    }

    fn roots(&self, name: &str) -> String {
        format!("&sslrootcert={}", self.home.path(name).display())
    }
}

impl Drop for OwnServer {
    #[expect(clippy::print_stderr, reason = "for whoever reads the failure")]
    fn drop(&mut self) {
        // Killed outright it would leave shared memory behind; it ends at once, and takes its processes along.
        let quit = Command::new("kill")
            .args(["-QUIT", &self.server.id().to_string()])
            .status();
        let _ended = quit.and_then(|_| self.server.wait());
        if std::thread::panicking() {
            eprintln!(
                "{}",
                std::fs::read_to_string(self.home.path("log")).unwrap_or_default()
            );
        }
    }
}

/// Files that belong to whom the server runs as. Postgres refuses to run as root, so then that is the user of its package.
struct Home {
    directory: TempDir,
    is_root: bool,
}

impl Home {
    fn make() -> Self {
        // Where that user can get at it, whatever TMPDIR says.
        let directory = tempfile::Builder::new()
            .prefix("kanal-tls-")
            .tempdir_in("/var/tmp")
            .unwrap();
        let is_root = metadata("/proc/self").unwrap().uid() == 0;
        if is_root {
            let given = Command::new("chown")
                .arg("postgres:postgres")
                .arg(directory.path())
                .status();
            assert!(
                given.unwrap().success(),
                "there is no user postgres: apt-get install postgresql"
            );
        }
        Self { directory, is_root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, program: &std::path::Path) -> Command {
        let mut command = if self.is_root {
            let mut command = Command::new("setpriv");
            command.args([
                "--reuid=postgres",
                "--regid=postgres",
                "--init-groups",
                "--reset-env",
            ]);
            command.arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.directory.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, command: &mut Command) {
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}");
    }

    /// An authority that signs itself, in `NAME.pem`.
    fn authority(&self, name: &str) {
        let files = [format!("-keyout={name}.key"), format!("-out={name}.pem")];
        self.certificate(name, &[&files[0], &files[1]]);
    }

    fn certificate(&self, name: &str, more: &[&str]) {
        let subject = format!("-subj=/CN={name}");
        let common = [
            "req",
            "-x509",
            "-newkey=ec",
            "-pkeyopt=ec_paramgen_curve:P-256",
            "-nodes",
            "-days=2",
            &subject,
        ];
        // openssl takes what an option is about as an argument of its own.
        let arguments = common
            .iter()
            .chain(more)
            .flat_map(|argument| argument.splitn(2, '='));
        self.run(self.command("openssl".as_ref()).args(arguments));
    }
}

/// Where the newest Postgres of this machine has its programs, which are not on the path.
fn programs() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let newest = installed
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
            path.join("bin/initdb")
                .exists()
                .then(|| (version, path.join("bin")))
        })
        .max();
    assert!(
        newest.is_some(),
        "there is no Postgres: apt-get install postgresql"
    );
    newest.unwrap().1
}
