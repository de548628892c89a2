//! A send on its way: charged before it goes out, settled and counted when its outcome is known (contract §11).

use tenant_isolation::TenantScope;
use uuid::Uuid;

use super::admit::Admitted;
use super::quota::Charge;
use super::send_kind::SendKind;
use super::usage::Usage;
use crate::error::Error;
use crate::traffic::Traffic;

/// A send that is about to go out. Dropped without a word its outcome is unknown: it stays charged if it went out, and
/// is not counted.
#[derive(Debug)]
pub(crate) struct Sending {
    usage: Usage,
    scope: TenantScope,
    session: Uuid,
    kind: SendKind,
    charge: Option<Charge>,
}

impl Sending {
    /// Charges the send where the customer has a quota.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`], or a database that cannot be asked.
    pub(crate) async fn begin(traffic: &Traffic, admitted: &Admitted, kind: SendKind) -> Result<Self, Error> {
        let charge = if admitted.entitlement.max_messages > 0 {
            Some(traffic.quota.charge(&admitted.scope).await?)
        } else {
            None
        };
        Ok(Self {
            usage: traffic.usage.clone(),
            scope: admitted.scope.clone(),
            session: admitted.session,
            kind,
            charge,
        })
    }

    /// From now on the WA server may have it.
    pub(crate) fn goes_out(&mut self) {
        if let Some(charge) = &mut self.charge {
            charge.goes_out();
        }
    }

    /// The WA server has answered. What it refused is not charged.
    pub(crate) fn answered(self, success: bool) {
        self.usage.count(&self.scope, self.session, self.kind, success);
        if !success {
            self.did_not_happen();
        }
    }

    /// The WA server certainly saw nothing of it, or not all.
    pub(crate) fn did_not_happen(self) {
        if let Some(charge) = self.charge {
            charge.give_back();
        }
    }
}
