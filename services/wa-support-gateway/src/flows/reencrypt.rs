//! Sealing every secret anew under the newest key, so that an older one can go.

use database::{Database, DatabaseError};
use runtime::encryption::{EncryptionError, KeyRing};
use secrecy::SecretString;
use serde::Serialize;
use tenant_isolation::{PlatformScope, PlatformTransaction};
use uuid::Uuid;

use crate::secrets;
use crate::store::session_sweep::{self, Sealed};

/// Sessions of one transaction.
const BATCH: i64 = 200;

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Resealed {
    /// The key that everything is sealed under now, or should be.
    pub key: String,
    /// Sessions whose secrets were sealed anew.
    pub sessions: u64,
    /// Sessions with a secret that does not open.
    pub unreadable: u64,
    /// Sessions that somebody changed meanwhile, and that were come back to.
    pub changed_meanwhile: u64,
    /// Those of them that were changed again: they may still be sealed under an older key.
    pub left: u64,
}

/// Seals what is not sealed under the newest key. May be stopped and begun again at any time.
///
/// # Errors
/// [`DatabaseError`].
pub async fn reencrypt(db: &Database, keys: &KeyRing) -> Result<Resealed, DatabaseError> {
    let mut done = Resealed {
        key: keys.newest_id().to_owned(),
        ..Resealed::default()
    };
    pass(db, keys, &mut done).await?;
    // One that somebody changed meanwhile was sealed by a process that may not know the newest key yet.
    if done.left > 0 {
        done.changed_meanwhile = done.left;
        done.left = 0;
        // Those are met again.
        done.unreadable = 0;
        pass(db, keys, &mut done).await?;
    }
    Ok(done)
}

/// Once through all sessions.
async fn pass(db: &Database, keys: &KeyRing, done: &mut Resealed) -> Result<(), DatabaseError> {
    let mut after = (String::new(), Uuid::nil());
    loop {
        let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("seal secrets anew")).await?;
        let batch = session_sweep::sealed_otherwise(&mut tx, &done.key, (&after.0, after.1), BATCH).await?;
        let Some(last) = batch.last() else {
            return Ok(());
        };
        after = last.place();
        for old in &batch {
            let scope = old.scope(&tx)?;
            match seal_anew(keys, &scope, old) {
                Ok(new) if session_sweep::reseal(&mut tx, old, &new).await? => done.sessions += 1,
                Ok(_) => done.left += 1,
                Err(error) => {
                    tracing::error!(error = %error, session = %old.id, tenant = %scope.tenant(), "a sealed secret does not open");
                    done.unreadable += 1;
                }
            }
        }
        tx.commit().await?;
    }
}

fn seal_anew(
    keys: &KeyRing,
    scope: &tenant_isolation::TenantScope,
    old: &Sealed,
) -> Result<Sealed, EncryptionError> {
    let anew = |sealed: &str, binding: &str| -> Result<String, EncryptionError> {
        let secret: SecretString = keys.open(sealed, binding)?;
        if keys.is_current(sealed) {
            return Ok(sealed.to_owned());
        }
        keys.seal(&secret, binding)
    };
    let id = old.id;
    let customers = old
        .customer_hmac_key_sealed
        .as_deref()
        .map(|sealed| anew(sealed, &secrets::customer_hmac_key_binding(scope, id)));
    Ok(old.with(
        anew(&old.token_sealed, &secrets::token_binding(scope, id))?,
        anew(&old.hmac_key_sealed, &secrets::hmac_key_binding(scope, id))?,
        customers.transpose()?,
    ))
}
