//! What is measured of every request.
//!
//! Each HTTP worker keeps the meters that it has used: looking one up by its labels would be done for every request, and
//! takes longer than counting.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

/// By route, then by method and status. As many as Prometheus is told of.
type Times = HashMap<String, HashMap<(&'static str, u16), metrics::Histogram>>;

thread_local! {
    static IN_FLIGHT: OnceCell<metrics::Gauge> = const { OnceCell::new() };
    static TIMES: RefCell<Times> = RefCell::default();
}

/// Requests that are being answered.
pub(crate) fn in_flight() -> metrics::Gauge {
    let make = || metrics::gauge!("kanal_http_requests_in_flight");
    IN_FLIGHT.with(|gauge| gauge.get_or_init(make).clone())
}

/// A request to `route`, which is a pattern, was answered.
pub(crate) fn answered(method: &'static str, route: &str, status: u16, took: Duration) {
    TIMES.with_borrow_mut(|times| {
        if !times.contains_key(route) {
            times.insert(route.to_owned(), HashMap::new());
        }
        let Some(of_route) = times.get_mut(route) else {
            return;
        };
        let make = || {
            let (route, status) = (route.to_owned(), status.to_string());
            metrics::histogram!("kanal_http_request_seconds", "method" => method, "route" => route, "status" => status)
        };
        of_route.entry((method, status)).or_insert_with(make).record(took);
    });
}
