//! Ports for services that are killed and come back on the same one.

use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the system gives local ports to outgoing connections: one of those must not sit on a
/// service's port while the service is down.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

static HANDED_OUT: AtomicU16 = AtomicU16::new(0);

/// A port of the loopback on which nobody listens; no two calls in one process give the same one.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    let width = RANGE.end - RANGE.start;
    // Test processes that run side by side begin at different places.
    let first = (process::id() % u32::from(width / 64)) as u16 * 64;
    for _ in 0..width {
        let step = HANDED_OUT.fetch_add(1, Ordering::Relaxed);
        let port = RANGE.start + (first.wrapping_add(step)) % width;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port of {RANGE:?} is free");
}
