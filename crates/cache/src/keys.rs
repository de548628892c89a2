//! Keys that say whose they are.

use std::net::{IpAddr, Ipv6Addr};

use tenant_isolation::TenantScope;
use tenant_isolation::resolve::ExternalId;

/// The key of a cached value or a bucket. Equal ids of two tenants make different keys, and a key before the tenant
/// is known can only be made of an outside id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CacheKey(String);

impl CacheKey {
    /// Something of a tenant's. `kind` names what, `id` which one.
    ///
    /// A tenant's id cannot hold a `/`, so no choice of ids makes two tenants' keys equal.
    #[must_use]
    pub fn of_tenant(scope: &TenantScope, kind: &'static str, id: &str) -> Self {
        Self(["t/", scope.tenant().as_str(), "/", kind, "/", id].concat())
    }

    /// What every key of a tenant begins with.
    pub(crate) fn all_of_tenant(scope: &TenantScope) -> String {
        format!("t/{}/", scope.tenant())
    }

    /// What an outside id stands for.
    #[must_use]
    pub fn of_external(external: &ExternalId) -> Self {
        Self(["x/", external.kind(), "/", external.id()].concat())
    }

    /// Something of whoever calls from an address and has not shown who it is. A network of IPv6 is one caller: each
    /// house has more addresses than anybody could count.
    #[must_use]
    pub fn of_address(kind: &'static str, address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(format!("a/{kind}/{address}")),
            IpAddr::V6(address) => {
                let network = Ipv6Addr::from(u128::from(address) >> 64 << 64);
                Self(format!("a/{kind}/{network}"))
            }
        }
    }

    /// Something of an endpoint's, which is for all tenants that use it.
    #[must_use]
    pub fn of_endpoint(kind: &'static str, name: &str) -> Self {
        Self(format!("e/{kind}/{name}"))
    }

    /// The key that another process named, which made it in one of these ways.
    pub(crate) const fn heard(key: String) -> Self {
        Self(key)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
