//! For whom work is done.

use std::collections::BTreeSet;

use domain::ids::TenantId;

/// Work for exactly one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantScope {
    tenant: TenantId,
}

impl TenantScope {
    pub(crate) const fn new(tenant: TenantId) -> Self {
        Self { tenant }
    }

    /// The tenant that an operator named on the command line of the machine that holds the database's credentials.
    #[must_use]
    pub const fn named_by_operator(tenant: TenantId) -> Self {
        Self::new(tenant)
    }

    /// The tenant of an event that came over our own broker. Only as good as the broker's credentials: rows named
    /// by the event are looked up inside this scope, so an event cannot reach another tenant's rows.
    #[must_use]
    pub const fn of_own_event(tenant: TenantId) -> Self {
        Self::new(tenant)
    }

    /// The tenant that a link names which we signed ourselves. Check the signature first: it is what makes the name
    /// ours.
    #[must_use]
    pub const fn of_own_link(tenant: TenantId) -> Self {
        Self::new(tenant)
    }

    /// The tenant of a row that a platform-wide sweep met; the work on the row goes on in the tenant's own scope.
    #[must_use]
    pub const fn of_swept_row(_platform: &PlatformScope, tenant: TenantId) -> Self {
        Self::new(tenant)
    }

    /// Whose work it is.
    #[must_use]
    pub const fn tenant(&self) -> &TenantId {
        &self.tenant
    }
}

/// Work for several tenants that were each resolved on their own: webhooks that share one commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScopeSet {
    tenants: BTreeSet<TenantId>,
}

impl ScopeSet {
    /// Tenants in the set, as the database setting holds them.
    pub(crate) fn setting(&self) -> String {
        self.tenants
            .iter()
            .map(TenantId::as_str)
            .collect::<Vec<_>>()
            .join(",")
    }

    /// Is the tenant one of the set?
    pub(crate) fn has(&self, scope: &TenantScope) -> bool {
        self.tenants.contains(&scope.tenant)
    }
}

impl<'a> FromIterator<&'a TenantScope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = &'a TenantScope>>(scopes: I) -> Self {
        Self {
            tenants: scopes.into_iter().map(|scope| scope.tenant.clone()).collect(),
        }
    }
}

impl From<&TenantScope> for ScopeSet {
    fn from(scope: &TenantScope) -> Self {
        std::iter::once(scope).collect()
    }
}

/// Work over all tenants: relays, sweeps, superadministration. Every maker names its purpose, so that one search
/// finds all of them.
#[derive(Debug, Clone, Copy)]
pub struct PlatformScope {
    purpose: &'static str,
}

impl PlatformScope {
    /// Work that cannot be done tenant by tenant.
    #[must_use]
    pub const fn for_purpose(purpose: &'static str) -> Self {
        Self { purpose }
    }

    /// What the work is for; it is logged and counted.
    #[must_use]
    pub const fn purpose(&self) -> &'static str {
        self.purpose
    }
}
