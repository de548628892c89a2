//! May this address be dialled? Chatwoot's URL is typed by people and a file's address comes in a webhook, so a service
//! must not become a way into the network it stands in.
//!
//! Two checks that need each other: [`OutboundPolicy::check`] and [`OutboundPolicy::check_link`] look at the URL, because
//! an HTTP client never asks a resolver about `http://127.0.0.1`; [`CheckedResolver`] looks at what a name leads to, and
//! since the client dials exactly what the resolver hands it, the address that was checked is the address that is
//! dialled. The client must follow no redirects and use no proxy.
//!
//! What is private and may be dialled all the same is listed with its port: whoever may name a machine's web server has
//! no business with its database. A resolver is not told of ports, so they are judged with the URL, and a name that is
//! not listed itself leads to a listed address only where every port of that is open.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use runtime::config::Setting;
use url::{Host, Url};

/// Hosts and addresses that may be dialled although they are private. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct OutboundPolicy {
    allowed: Arc<Allowed>,
}

#[derive(Debug, Default)]
struct Allowed {
    names: BTreeMap<String, Ports>,
    addresses: BTreeMap<IpAddr, Ports>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Ports {
    These(BTreeSet<u16>),
    Every,
}

/// What an entry without a port means: the schemes' own.
const USUAL_PORTS: [u16; 2] = [80, 443];

/// Endings of names that mean something else, or something private, in every network.
const OWN_NAMES: [&str; 5] = [".localhost", ".local", ".internal", ".lan", ".home.arpa"];

/// The longest wait for a name server where its answer only adds to other checks.
const LOOKUP: Duration = Duration::from_secs(2);

/// Why a URL is not dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutboundRefusal {
    /// Only web addresses are dialled.
    #[error("the URL must begin with http:// or https://")]
    Scheme,
    /// No host, or a user, a query or a fragment where there must be none.
    #[error("the URL must have a host and no user, query or fragment")]
    Form,
    /// The host is, or leads only to, addresses of the own network.
    #[error("the host is a private address; OUTBOUND_ALLOWED_PRIVATE_HOSTS may allow it")]
    Private,
}

impl OutboundPolicy {
    /// Checks a base URL, as far as that is possible without asking a name server.
    ///
    /// # Errors
    /// [`OutboundRefusal`].
    pub fn check(&self, url: &Url) -> Result<(), OutboundRefusal> {
        self.check_host(url, url.query().is_none() && url.fragment().is_none())
    }

    /// Checks the whole address of one thing: it may have a query, as signed addresses do.
    ///
    /// # Errors
    /// [`OutboundRefusal`].
    pub fn check_link(&self, url: &Url) -> Result<(), OutboundRefusal> {
        self.check_host(url, true)
    }

    /// Is the host listed by name or address? Then it belongs to whoever runs this service.
    #[must_use]
    pub fn is_listed(&self, url: &Url) -> bool {
        let Some(port) = url.port_or_known_default() else {
            return false;
        };
        let ports = match url.host() {
            Some(Host::Ipv4(address)) => self.allowed.addresses.get(&IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => self.allowed.addresses.get(&IpAddr::V6(address)),
            Some(Host::Domain(name)) => self.allowed.names.get(&bare(name)),
            None => None,
        };
        ports.is_some_and(|ports| ports.have(port))
    }

    fn check_host(&self, url: &Url, fits: bool) -> Result<(), OutboundRefusal> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(OutboundRefusal::Scheme);
        }
        let plain = fits && url.username().is_empty() && url.password().is_none();
        // Both schemes have a port of their own.
        let port = url.port_or_known_default().ok_or(OutboundRefusal::Form)?;
        // The parser has already turned `0x7f000001` and `2130706433` into plain addresses.
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(name)) if plain => return self.check_name(name, port),
            Some(Host::Domain(_)) | None => return Err(OutboundRefusal::Form),
        };
        if !plain {
            return Err(OutboundRefusal::Form);
        }
        if self.may_dial(address, port) {
            Ok(())
        } else {
            Err(OutboundRefusal::Private)
        }
    }

    /// A listed name is trusted wherever it leads to, so its port has to be listed, too. What any other name leads to, the
    /// resolver finds out.
    fn check_name(&self, name: &str, port: u16) -> Result<(), OutboundRefusal> {
        match self.allowed.names.get(&bare(name)) {
            Some(ports) if !ports.have(port) => Err(OutboundRefusal::Private),
            Some(_) | None => Ok(()),
        }
    }

    /// Checks a URL that somebody else will dial for us, by [`Self::check_link`] and by what its name leads to now. A name
    /// that leads nowhere passes: there is nothing to dial. What we dial ourselves is checked by [`CheckedResolver`],
    /// because a name may lead elsewhere tomorrow.
    ///
    /// # Errors
    /// [`OutboundRefusal`].
    pub async fn check_for_others(&self, url: &Url) -> Result<(), OutboundRefusal> {
        self.check_link(url)?;
        let Some(Host::Domain(name)) = url.host() else {
            return Ok(());
        };
        if self.trusts_name(name) {
            return Ok(());
        }
        let bare = bare(name);
        // Names that lead into the network they are asked in, whatever they lead to from here.
        if !bare.contains('.') || OWN_NAMES.iter().any(|own| bare.ends_with(own)) {
            return Err(OutboundRefusal::Private);
        }
        let Ok(Ok(mut found)) =
            tokio::time::timeout(LOOKUP, tokio::net::lookup_host((bare.as_str(), 0))).await
        else {
            return Ok(());
        };
        if found.all(|address| self.may_dial_everywhere(address.ip())) {
            Ok(())
        } else {
            Err(OutboundRefusal::Private)
        }
    }

    fn may_dial(&self, address: IpAddr, port: u16) -> bool {
        let listed = self.allowed.addresses.get(&address.to_canonical());
        is_public(address) || listed.is_some_and(|ports| ports.have(port))
    }

    /// Whatever the port.
    fn may_dial_everywhere(&self, address: IpAddr) -> bool {
        is_public(address) || self.allowed.addresses.get(&address.to_canonical()) == Some(&Ports::Every)
    }

    fn trusts_name(&self, name: &str) -> bool {
        self.allowed.names.contains_key(&bare(name))
    }
}

/// A name as it is listed.
fn bare(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

impl Ports {
    fn have(&self, port: u16) -> bool {
        match self {
            Self::These(ports) => ports.contains(&port),
            Self::Every => true,
        }
    }

    /// Of a host that is listed twice, both count.
    fn add(&mut self, more: Self) {
        match (&mut *self, more) {
            (Self::These(ports), Self::These(more)) => ports.extend(more),
            (_, Self::Every) => *self = Self::Every,
            (Self::Every, Self::These(_)) => {}
        }
    }
}

/// `host`, `host:port` or `host:*`. An IPv6 address with a port stands in brackets.
fn entry(text: &str) -> Option<(&str, Ports)> {
    let usual = || Ports::These(USUAL_PORTS.into());
    if text.parse::<IpAddr>().is_ok() {
        return Some((text, usual()));
    }
    if let Some((address, behind)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        let ports = match behind.strip_prefix(':') {
            Some(port) => ports(port)?,
            None if behind.is_empty() => usual(),
            None => return None,
        };
        return Some((address, ports));
    }
    match text.rsplit_once(':') {
        Some((host, port)) => Some((host, ports(port)?)),
        None => Some((text, usual())),
    }
}

fn ports(text: &str) -> Option<Ports> {
    if text == "*" {
        return Some(Ports::Every);
    }
    let port = text.parse().ok().filter(|port| *port != 0)?;
    Some(Ports::These([port].into()))
}

impl Setting for OutboundPolicy {
    const EXPECTED: &'static str = "must be host names or IP addresses, each with its port where that is neither 80 nor 443, separated by commas";

    fn from_text(text: &str) -> Option<Self> {
        let mut allowed = Allowed::default();
        for text in text.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            let (host, ports) = entry(text)?;
            let listed = match (host.parse::<IpAddr>(), Host::parse(host)) {
                (Ok(address), _) => allowed
                    .addresses
                    .entry(address.to_canonical())
                    .or_insert(ports.clone()),
                (_, Ok(Host::Domain(name))) if !name.contains('*') => {
                    allowed.names.entry(bare(&name)).or_insert(ports.clone())
                }
                _ => return None,
            };
            listed.add(ports);
        }
        Some(Self {
            allowed: Arc::new(allowed),
        })
    }
}

/// Asks the system's resolver and hands on only what may be dialled.
#[derive(Debug, Clone)]
pub struct CheckedResolver {
    policy: OutboundPolicy,
}

impl CheckedResolver {
    /// A resolver under this policy.
    #[must_use]
    pub const fn new(policy: OutboundPolicy) -> Self {
        Self { policy }
    }

    async fn addresses(&self, name: &str) -> std::io::Result<Result<Vec<SocketAddr>, OutboundRefusal>> {
        let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
        let trusted = self.policy.trusts_name(name);
        let dialled: Vec<SocketAddr> = found
            .into_iter()
            .filter(|address| trusted || self.policy.may_dial_everywhere(address.ip()))
            .collect();
        Ok(if dialled.is_empty() {
            Err(OutboundRefusal::Private)
        } else {
            Ok(dialled)
        })
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.addresses(name.as_str()).await??;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && (18..20).contains(&b))
        // Multicast, reserved and broadcast.
        || a >= 224;
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // Translated and tunnelled addresses are as public as the IPv4 address in them.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
        [0x64, 0xff9b, 1, ..] | [0x2001, 0xdb8, ..] => false,
        // Only 2000::/3 is given out to the public; the rest is local, multicast or nobody's.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(policy: &OutboundPolicy, url: &str) -> Result<(), OutboundRefusal> {
        policy.check(&Url::parse(url).unwrap())
    }

    #[test]
    fn every_spelling_of_an_own_address_is_refused() {
        for host in [
            "127.0.0.1",
            "127.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:10.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[::7f00:1]",
            "0x7f000001",
            "2130706433",
            "0177.0.0.1",
            "0.0.0.0",
            "169.254.169.254",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[fc00::1]",
            "[fd12:3456::1]",
            "[fe80::1]",
            "[ff02::1]",
        ] {
            let refused = check(&OutboundPolicy::default(), &format!("http://{host}/"));
            assert_eq!(refused, Err(OutboundRefusal::Private), "{host}");
        }
    }

    #[test]
    fn public_addresses_and_names_pass_and_other_forms_do_not() {
        let policy = OutboundPolicy::default();
        for url in [
            "https://93.184.216.34/",
            "https://[2606:2800:220:1::1]/",
            "https://chat.example/sub",
        ] {
            assert_eq!(check(&policy, url), Ok(()), "{url}");
        }
        assert_eq!(check(&policy, "file:///etc/passwd"), Err(OutboundRefusal::Scheme));
        assert_eq!(
            check(&policy, "ftp://chat.example/"),
            Err(OutboundRefusal::Scheme)
        );
        assert_eq!(
            check(&policy, "https://user:secret@chat.example/"),
            Err(OutboundRefusal::Form)
        );
        assert_eq!(
            check(&policy, "https://chat.example/?a=b"),
            Err(OutboundRefusal::Form)
        );
    }

    #[test]
    fn a_link_may_have_a_query_and_nothing_else_more() {
        let check = |url: &str| OutboundPolicy::default().check_link(&Url::parse(url).unwrap());
        assert_eq!(check("https://s3.example/a.jpg?X-Amz-Signature=1"), Ok(()));
        assert_eq!(check("http://10.0.0.1/a.jpg?x=1"), Err(OutboundRefusal::Private));
        assert_eq!(check("https://u:p@s3.example/a.jpg"), Err(OutboundRefusal::Form));
        assert_eq!(check("ftp://s3.example/a.jpg"), Err(OutboundRefusal::Scheme));
    }

    #[test]
    fn what_is_listed_may_be_dialled() {
        let policy = OutboundPolicy::from_text("127.0.0.1:3000, [::1],chatwoot.internal").unwrap();
        assert_eq!(check(&policy, "http://127.0.0.1:3000"), Ok(()));
        assert_eq!(check(&policy, "http://[::ffff:127.0.0.1]:3000"), Ok(()));
        assert_eq!(check(&policy, "http://[::1]"), Ok(()));
        assert_eq!(check(&policy, "http://127.0.0.2"), Err(OutboundRefusal::Private));
        assert!(policy.trusts_name("Chatwoot.Internal."));
        for wrong in [
            "a b", "a:0", "a:x", "a:65536", "a:", ":80", "[::1", "[::1]x", "[::1]:", "*", "a:b:1",
        ] {
            assert!(OutboundPolicy::from_text(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn what_is_listed_may_be_dialled_on_its_ports() {
        let listed = "127.0.0.1:3000,127.0.0.1:3001,::1,[fd00::1]:8080,[fd00::2]:*,chat:3000,plain,Open.:*,open:9,10.0.0.1:*";
        let policy = OutboundPolicy::from_text(listed).unwrap();
        for (url, allowed) in [
            ("http://127.0.0.1:3000/", true),
            ("http://127.0.0.1:3001/", true),
            ("http://127.0.0.1/", false),
            ("http://127.0.0.1:5432/", false),
            ("https://[::1]/", true),
            ("http://[::1]:443/", true),
            ("http://[::1]:8080/", false),
            ("http://[fd00::1]:8080/", true),
            ("http://[fd00::1]/", false),
            ("http://[fd00::2]:1/", true),
            ("http://chat:3000/", true),
            ("http://CHAT.:3000/", true),
            ("http://chat/", false),
            ("http://chat:5432/", false),
            ("http://plain/", true),
            ("https://plain/", true),
            ("https://plain:80/", true),
            ("http://plain:8080/", false),
            ("http://open:1/", true),
            ("http://10.0.0.1:1/", true),
            // Not listed, and a name: the resolver says where it leads to.
            ("http://elsewhere:5432/", true),
        ] {
            let expected = if allowed {
                Ok(())
            } else {
                Err(OutboundRefusal::Private)
            };
            assert_eq!(check(&policy, url), expected, "{url}");
            let is_listed = allowed && !url.contains("elsewhere");
            assert_eq!(policy.is_listed(&Url::parse(url).unwrap()), is_listed, "{url}");
        }
        let public = Url::parse("https://93.184.216.34/").unwrap();
        assert!(!policy.is_listed(&public), "it may be dialled and is not ours");
    }

    #[tokio::test]
    async fn an_address_for_others_leads_out_of_the_network() {
        let refused = |policy: &str, url: &str| {
            let (policy, url) = (
                OutboundPolicy::from_text(policy).unwrap(),
                Url::parse(url).unwrap(),
            );
            async move { policy.check_for_others(&url).await.err() }
        };
        for url in [
            "http://localhost/hook",
            "http://channel-service:3001/hook",
            "http://a.LOCALHOST./hook",
            "http://metadata.google.internal/hook",
            "http://127.0.0.1/hook",
        ] {
            assert_eq!(refused("", url).await, Some(OutboundRefusal::Private), "{url}");
        }
        assert_eq!(refused("", "https://hook.invalid/a?b=c").await, None);
        assert_eq!(
            refused("", "https://u:p@hook.invalid/").await,
            Some(OutboundRefusal::Form)
        );
        let (listed, url) = ("channel-service:3001", "http://channel-service:3001/hook");
        assert_eq!(refused(listed, url).await, None);
        for (listed, url) in [
            ("channel-service", url),
            (listed, "http://channel-service:5432/hook"),
            (listed, "http://channel-service/hook"),
            // Whoever lists an address and one port of it has not opened the others under another name.
            ("127.0.0.1:3001", "http://localhost:3001/hook"),
        ] {
            let refusal = refused(listed, url).await;
            assert_eq!(refusal, Some(OutboundRefusal::Private), "{listed} {url}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_home_is_refused_unless_listed() {
        let strict = CheckedResolver::new(OutboundPolicy::default());
        assert_eq!(
            strict.addresses("localhost").await.unwrap(),
            Err(OutboundRefusal::Private)
        );
        for (listed, is_open) in [
            ("localhost", true),
            ("127.0.0.1:*,[::1]:*", true),
            // No port is known here: a name must not be a way to the ports that are not listed.
            ("127.0.0.1,::1", false),
            ("127.0.0.1:3000,[::1]:3000", false),
        ] {
            let resolver = CheckedResolver::new(OutboundPolicy::from_text(listed).unwrap());
            let found = resolver.addresses("localhost").await.unwrap();
            assert_eq!(found.is_ok(), is_open, "{listed}");
        }
    }

    #[tokio::test]
    async fn a_client_with_the_resolver_does_not_reach_the_own_host_by_name() {
        runtime::tls::install_crypto_provider();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = reqwest::Client::builder()
            .no_proxy()
            .dns_resolver(Arc::new(CheckedResolver::new(OutboundPolicy::default())))
            .build()
            .unwrap();
        let error = client
            .get(format!("http://localhost:{port}/"))
            .send()
            .await
            .unwrap_err();
        assert!(error.is_connect());
    }
}
