use std::sync::atomic::{AtomicU32, Ordering};

use tenant_isolation::resolve::ExternalId;

use super::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 8));

/// A guard, and a directory that counts who looks into it.
#[derive(Default)]
struct World {
    guard: LookGuard,
    looks: AtomicU32,
}

impl World {
    async fn look(&self, name: &str, address: IpAddr, there: bool) -> Result<Option<()>, LookError> {
        let load = || async {
            self.looks.fetch_add(1, Ordering::Relaxed);
            Ok(there.then_some(()))
        };
        self.guard.look(&key(name), Some(address), load).await
    }

    fn looks(&self) -> u32 {
        self.looks.load(Ordering::Relaxed)
    }

    /// Asks for what nobody has until it is refused.
    async fn wear_out(&self, address: IpAddr) -> u32 {
        for number in 0..10_000 {
            if self
                .look(&format!("guess {number} of {address}"), address, false)
                .await
                .is_err()
            {
                return number;
            }
        }
        panic!("never refused");
    }
}

fn key(name: &str) -> CacheKey {
    CacheKey::of_external(&ExternalId::new("test", name).unwrap())
}

#[tokio::test]
async fn one_wrong_token_is_one_look_however_often_it_is_shown() {
    let world = World::default();
    let began = Instant::now();
    for _ in 0..1000 {
        assert_eq!(world.look("wrong", HERE, false).await.unwrap(), None);
    }
    let seconds = u32::try_from(began.elapsed().as_secs()).unwrap();
    assert!(world.looks() <= 1 + seconds, "{} looks", world.looks());

    // Made meanwhile by this very process: known at once.
    world.guard.forget(&key("wrong")).await;
    assert_eq!(world.look("wrong", HERE, true).await.unwrap(), Some(()));
}

#[tokio::test]
async fn guessing_ends_without_a_look_and_only_for_its_address() {
    let world = World::default();
    let first = world.wear_out(HERE).await;
    assert!(first >= NEW.at_once, "{first}");
    let (before, began) = (world.looks(), Instant::now());
    for number in 0..1000 {
        let refused = world.look(&format!("more {number}"), HERE, false).await;
        if let Err(LookError::TooMany(wait)) = refused {
            assert!(wait <= NEW.then_every, "{wait:?}");
        }
    }
    let seconds = u32::try_from(began.elapsed().as_secs()).unwrap();
    assert!(world.looks() - before <= 1 + seconds, "the rest costs nothing");
    assert!(world.look("other", THERE, false).await.is_ok());
}

#[tokio::test]
async fn whoever_was_found_before_is_found_whatever_its_address_has_done() {
    let world = World::default();
    // Finding something costs its address nothing.
    for number in 0..1000 {
        assert_eq!(
            world.look(&format!("known {number}"), HERE, true).await.unwrap(),
            Some(())
        );
    }
    world.wear_out(HERE).await;
    for number in 0..1000 {
        assert_eq!(
            world.look(&format!("known {number}"), HERE, true).await.unwrap(),
            Some(())
        );
    }
    // It is gone since: a guess like any other, after the one look that told.
    assert_eq!(world.look("known 1", HERE, false).await.unwrap(), None);
    let (again, now) = (key("known 1"), world.looks());
    assert!(!world.guard.known.contains_key(&again));
    assert_eq!(world.look("known 1", HERE, false).await.unwrap(), None);
    assert!(world.looks() <= now + 1);
}

#[tokio::test]
async fn old_tokens_that_are_shown_again_and_again_keep_no_new_one_out() {
    let world = World::default();
    let first = world.wear_out(HERE).await;
    // What was unknown a second ago may be there now, and is looked for from a budget of its own.
    let old = key("guess 0 of 203.0.113.7");
    let long_ago = Instant::now().checked_sub(BELIEVED).unwrap();
    world.guard.unknown.insert(old.clone(), long_ago).await;
    let before = world.looks();
    assert_eq!(
        world.look("guess 0 of 203.0.113.7", HERE, true).await.unwrap(),
        Some(())
    );
    assert_eq!(world.looks(), before + 1);
    assert!(first >= NEW.at_once);
}

#[test]
fn a_budget_fills_again_and_never_beyond_its_brim() {
    let start = Instant::now();
    let mut budget = Budget { full_at: start };
    let mut taken = |now: Instant| (0..1000).take_while(|_| budget.take(&NEW, now).is_ok()).count();
    assert_eq!(taken(start), 60);
    assert_eq!(taken(start), 0);
    assert_eq!(taken(start + Duration::from_secs(3)), 3);
    assert_eq!(taken(start + Duration::from_secs(3600)), 60);
    budget.give_back(&NEW);
    assert!(budget.take(&NEW, start + Duration::from_secs(3600)).is_ok());
}
