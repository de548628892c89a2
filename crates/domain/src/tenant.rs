//! Tenants: the customer organisations everything belongs to.

use crate::words::words;

words! {
    /// May a tenant be worked for?
    TenantStatus, "tenant status" {
        /// Yes.
        Active = "active",
        /// What arrives is kept; nothing is sent and nobody is told until an operator lifts it.
        Suspended = "suspended",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_keep_their_names() {
        for &status in TenantStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
    }
}
