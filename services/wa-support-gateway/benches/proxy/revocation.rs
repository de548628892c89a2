//! How soon a key that was replaced at one replica is dead at another.

use std::time::{Duration, Instant};

use crate::service::{self, Api, Service};

const TIMES: usize = 50;

/// From the answer of the replica that replaced the key until the other one's first refusal has arrived.
pub(crate) async fn at_another_replica(here: &Service, there: &Service, customer: &str) {
    let (here, there) = (Api::of(here), Api::of(there));
    let mut key = here.new_key(customer).await;
    let mut took = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        assert_eq!(there.me(&key).await, 200, "the new key is good everywhere");
        let replaced = std::mem::replace(&mut key, here.new_key(customer).await);
        let answered = Instant::now();
        loop {
            match there.me(&replaced).await {
                200 => assert!(answered.elapsed() < Duration::from_secs(60), "it is never dead"),
                401 => break,
                status => panic!("the other replica answers {status}"),
            }
        }
        took.push(answered.elapsed());
    }
    println!("\na replaced key is refused by another replica, {TIMES} times");
    println!("{}", service::median_and_worst(took));
}
