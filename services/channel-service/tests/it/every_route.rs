//! Every described route, tried by everybody who should not be there and with everything that should not be sent.
//!
//! A route that is added is tried by itself: the table is the OpenAPI document. What must hold of every answer is in
//! [`Trial::judge`].

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::route_table::{Call, Guard, Route, an_address, nodes};
use crate::route_world::{MARKERS, OURS, THEIRS, Who, World};

/// Longer than any route takes fields.
const LARGE: usize = 10 * 1024 * 1024 + 1;

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Stranger,
    OtherVillage,
    NoVillage,
    WrongTypes,
    UnknownKeys,
    Nulls,
    EmptyBody,
    LargeBody,
    NulBytes,
}

/// Where a try does not end as every other one, and why that is right. An entry that no try needs fails the test.
const NOT_TRIED: &[(Kind, &str, &str)] = &[
    (Kind::NoVillage, "POST /api/tenants", REGISTERS),
    (
        Kind::NoVillage,
        "PUT /internal/channel-accounts/{village_id}",
        REGISTERS,
    ),
    (Kind::NoVillage, "POST /internal/whatsapp/session", REGISTERS),
    (Kind::NoVillage, "PATCH /internal/whatsapp/settings", REGISTERS),
    (Kind::NoVillage, "POST /internal/wa-support/provision", REGISTERS),
    (
        Kind::LargeBody,
        "POST /internal/media/upload",
        "the contract's answer to a file that is too large is 400",
    ),
    (
        Kind::LargeBody,
        "POST /graph/{version}/{phone_number_id}/media",
        "files are larger than that, and what is no form is not read",
    ),
];
const REGISTERS: &str = "a village that is new is registered by it";

/// Answers above 499 that are the contract's own: what the provider says when a session is not as it should be. As
/// [`NOT_TRIED`], an entry that is not needed fails the test.
const FIXED: &[(&str, &str)] = &[
    ("POST /internal/whatsapp/pairphone", "already_logged_in"),
    ("POST /internal/whatsapp/disconnect", "no_session"),
    ("POST /internal/whatsapp/logout", "no_session"),
    ("POST /api/whatsapp/disconnect", "no_session"),
    ("POST /api/whatsapp/logout", "no_session"),
];

/// What came out so far.
struct Trial {
    world: World,
    fixed: BTreeSet<usize>,
    excused: BTreeSet<usize>,
    problems: Vec<String>,
}

impl Trial {
    /// Sends it, and notes what is wrong with the answer. Gives the status; `None` when the service hung up.
    async fn tries(&mut self, kind: Kind, route: &Route, who: Who, call: Call) -> Option<u16> {
        let mut request = self
            .world
            .app
            .http()
            .request(route.method.clone(), call.url(&self.world.app.url))
            .header("x-forwarded-for", an_address());
        for (name, value) in call
            .headers
            .iter()
            .chain(&self.world.credentials(route, who).await)
        {
            request = request.header(name, value);
        }
        if let Some(body) = &call.body {
            request = request
                .header("content-type", "application/json")
                .body(body.clone());
        }
        let response = match request.send().await {
            Ok(response) => response,
            // A handler that takes no body does not read one, however long it is.
            Err(_) if kind == Kind::LargeBody && !route.takes_body => return None,
            Err(error) => {
                self.wrong(
                    kind,
                    route,
                    &format!("{who:?}, {}: no answer: {error:?}", call.what),
                );
                return None;
            }
        };
        let status = response.status().as_u16();
        let content_type = response.headers().get("content-type").cloned();
        let content_type = content_type.as_ref().and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        let headers = format!("{:?}", response.headers());
        let text = String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned();
        let faults = self.judge(route, who, status, &content_type, &headers, &text);
        for fault in faults {
            let text: String = text.chars().take(300).collect();
            self.wrong(
                kind,
                route,
                &format!("{who:?}, {}: {fault}: {status} {text}", call.what),
            );
        }
        Some(status)
    }

    /// What must hold of every answer of every route.
    fn judge(
        &mut self,
        route: &Route,
        who: Who,
        status: u16,
        content_type: &str,
        headers: &str,
        text: &str,
    ) -> Vec<&'static str> {
        let mut faults = Vec::new();
        let body: Value = serde_json::from_str(text).unwrap_or_default();
        if status >= 500 {
            let fixed = FIXED
                .iter()
                .position(|(name, code)| *name == route.name && body["code"] == *code);
            match fixed {
                Some(entry) => drop(self.fixed.insert(entry)),
                None => faults.push("a fault of ours"),
            }
        }
        match route.describes(status) {
            None => faults.push("a status that is not described"),
            Some(_) if route.method == Method::HEAD || status == 304 => {}
            Some(types) if types.iter().any(|kind| content_type.starts_with(kind.as_str())) => {}
            Some(_) => faults.push("a content type that is not described"),
        }
        let is_json = content_type.starts_with("application/json") && route.method != Method::HEAD;
        if is_json && body.is_null() {
            faults.push("no JSON");
        }
        // At the gate errors have Meta's shape.
        let told = if route.path.starts_with("/graph") {
            let error = &body["error"];
            error["code"].is_u64() && error["message"].is_string() && error["fbtrace_id"].is_string()
        } else {
            ["error", "code", "request_id"]
                .iter()
                .all(|field| body[*field].as_str().is_some_and(|text| !text.is_empty()))
        };
        if status >= 400 && is_json && !told {
            faults.push("an error without its fields");
        }
        let leaks = MARKERS
            .iter()
            .any(|marker| text.contains(marker) || headers.contains(marker));
        if who != Who::Entitled && leaks {
            faults.push("another village's things");
        }
        faults
    }

    fn wrong(&mut self, kind: Kind, route: &Route, problem: &str) {
        let excused = NOT_TRIED
            .iter()
            .position(|(known, name, _)| *known == kind && *name == route.name);
        match excused {
            Some(entry) => drop(self.excused.insert(entry)),
            None => self.problems.push(format!("{kind:?} {}: {problem}", route.name)),
        }
    }

    /// As [`Self::tries`], and the answer has this status.
    async fn tries_for(&mut self, kind: Kind, route: &Route, who: Who, call: Call, status: &[u16]) {
        let what = call.what.clone();
        let answered = self.tries(kind, route, who, call).await;
        if answered.is_some_and(|answered| !status.contains(&answered)) {
            self.wrong(
                kind,
                route,
                &format!("{who:?}, {what}: {answered:?} and not {status:?}"),
            );
        }
    }

    async fn strangers(&mut self, route: &Route) {
        let call = || route.good(THEIRS);
        let (nobody, wrong): (&[u16], &[u16]) = match route.guard {
            Guard::Key => (&[401], &[403]),
            Guard::Session => (&[401], &[401]),
            Guard::Nothing => {
                self.tries(Kind::Stranger, route, Who::Nobody, call().but("no key"))
                    .await;
                return;
            }
        };
        let kind = Kind::Stranger;
        self.tries_for(kind, route, Who::Nobody, call().but("no key"), nobody)
            .await;
        self.tries_for(kind, route, Who::WrongKey, call().but("a wrong key"), wrong)
            .await;
    }

    async fn other_villages(&mut self, route: &Route) {
        if route.guard == Guard::Nothing {
            return;
        }
        for place in route.village_places() {
            let call = route.naming(THEIRS, place).but(format!("theirs in the {place}"));
            self.tries_for(Kind::OtherVillage, route, Who::OfOurs, call, &[403])
                .await;
        }
        // Theirs in one place and ours in another: whichever counts, nothing of theirs is shown or changed.
        for (first, second) in [("query", "header"), ("query", "body"), ("body", "header")] {
            let places = route.village_places();
            if places.contains(&first) && places.contains(&second) {
                let mut call = route.naming(OURS, first);
                let theirs = route.naming(THEIRS, second);
                call.headers.extend(theirs.headers);
                call.body = theirs.body.or(call.body);
                let call = call.but(format!("ours in the {first}, theirs in the {second}"));
                self.tries(Kind::OtherVillage, route, Who::OfOurs, call).await;
            }
        }
        if route.path.contains("{device_id}") {
            let mut call = route.naming(OURS, "query").but("their device under our name");
            call.path = route.naming(THEIRS, "query").path;
            self.tries_for(Kind::OtherVillage, route, Who::OfOurs, call, &[404])
                .await;
        }
        if !route.path.starts_with("/api/auth") {
            let call = route.naming(OURS, "nowhere").but("no village");
            self.tries(Kind::OtherVillage, route, Who::OfOurs, call).await;
        }
    }

    async fn missing_villages(&mut self, route: &Route) {
        let places = route.village_places();
        let (kind, who) = (Kind::NoVillage, Who::Entitled);
        if places.is_empty() || route.guard == Guard::Nothing {
            return;
        }
        if !places.contains(&"path") {
            let call = route.naming(OURS, "nowhere").but("no village");
            // A village's own people need to name none; a read is answered where only one can be meant.
            let of_own = ["/api/whatsapp", "/api/dead-letters"];
            let is_of_own = of_own.iter().any(|path| route.path.starts_with(path));
            if route.method == Method::GET || is_of_own {
                self.tries(kind, route, who, call).await;
            } else {
                self.tries_for(kind, route, who, call, &[400]).await;
            }
        }
        let unknown = format!("desa-{}", Uuid::now_v7().simple());
        for place in &places {
            let call = route
                .naming(&unknown, place)
                .but(format!("an unknown one in the {place}"));
            self.tries(kind, route, who, call).await;
            let strange = route
                .naming("%2e%2e%2fx%20y", place)
                .but(format!("no id at all in the {place}"));
            self.tries(kind, route, who, strange).await;
        }
        let rows = self.world.rows_of(&unknown).await;
        if rows != json!([]) {
            self.wrong(
                kind,
                route,
                &format!("rows for a village that nobody registered: {rows}"),
            );
        }
    }

    async fn wrong_types(&mut self, route: &Route) {
        let (kind, who) = (Kind::WrongTypes, Who::Entitled);
        let long = "x".repeat(3000);
        let odd = json!([7, -1, 1.5e300, true, ["x"], {"a": 1}, [[[]]], "teks", "", long]);
        if route.takes_body && !route.is_copy() {
            let good = route.body(OURS, true);
            for pointer in nodes(&good) {
                for value in odd.as_array().unwrap() {
                    let mut body = route.body(OURS, true);
                    *body.pointer_mut(&pointer).unwrap() = value.clone();
                    let shown: String = value.to_string().chars().take(40).collect();
                    let call = route
                        .good(OURS)
                        .with_body(&body)
                        .but(format!("{pointer} is {shown}"));
                    self.tries(kind, route, who, call).await;
                }
            }
        }
        if route.method != Method::GET {
            for body in ["[]", "7", "\"teks\"", "null", "{", "{\"a\":}", "\u{1}"] {
                let mut call = route.good(OURS).but(format!("the body is {body}"));
                call.body = Some(body.as_bytes().to_vec());
                self.tries(kind, route, who, call).await;
            }
        }
        let odd = [
            "-1",
            "0",
            "1.5",
            "99999999999999999999",
            "[]",
            "%7B%7D",
            "true",
            "%ff%fe",
            "%F0%9F%8C%BE",
            "",
            &long,
        ];
        for name in &route.queries {
            for value in odd {
                let shown: String = value.chars().take(40).collect();
                let call = route
                    .good(OURS)
                    .with_query(name, value)
                    .but(format!("{name}={shown}"));
                self.tries(kind, route, who, call).await;
            }
        }
        for name in &route.headers {
            for value in ["-1", "x y", "bytes=9-1", "bytes=a-b,c", "*", &long] {
                let mut call = route
                    .good(OURS)
                    .but(format!("{name}: {}", &value[..value.len().min(40)]));
                call.headers.push((name.clone(), value.to_owned()));
                self.tries(kind, route, who, call).await;
            }
        }
        for value in ["%ff", "..%2f..%2fetc%2fpasswd", "%F0%9F%8C%BE", "%20", &long] {
            self.tries_in_path(kind, route, value).await;
        }
    }

    /// Puts it in the place of each name in the path.
    async fn tries_in_path(&mut self, kind: Kind, route: &Route, value: &str) {
        let good = route.good(OURS);
        for (at, part) in route.path.split('/').enumerate() {
            if !part.starts_with('{') {
                continue;
            }
            let mut parts: Vec<&str> = good.path.split('/').collect();
            parts[at] = value;
            let mut call = good.clone();
            call.path = parts.join("/");
            let shown: String = value.chars().take(40).collect();
            self.tries(kind, route, Who::Entitled, call.but(format!("{part} is {shown}")))
                .await;
        }
    }

    async fn odd_bodies(&mut self, route: &Route) {
        if route.method == Method::GET || route.method == Method::HEAD {
            return;
        }
        let who = Who::Entitled;
        let mut body = route.body(OURS, true);
        body["kunci_baru"] = json!({"a": ["b", null]});
        body["__proto__"] = json!({"role": "superadmin", "village_id": THEIRS});
        let call = route.good(OURS).with_body(&body).but("unknown keys");
        self.tries(Kind::UnknownKeys, route, who, call).await;

        let mut body = route.body(OURS, true);
        for (_, value) in body.as_object_mut().unwrap() {
            *value = Value::Null;
        }
        let call = route.good(OURS).with_body(&body).but("nulls");
        self.tries(Kind::Nulls, route, who, call).await;

        let call = Call {
            body: Some(Vec::new()),
            ..route.good(OURS)
        };
        self.tries(Kind::EmptyBody, route, who, call.but("an empty body"))
            .await;

        let body = json!({"village_id": OURS, "message": "x".repeat(LARGE)});
        let call = route.good(OURS).with_body(&body).but("10 MiB and a bit");
        if route.takes_body && !route.is_webhook() {
            self.tries_for(Kind::LargeBody, route, who, call, &[413]).await;
        } else {
            self.tries(Kind::LargeBody, route, who, call).await;
        }
    }

    async fn nul_bytes(&mut self, route: &Route) {
        let (kind, who) = (Kind::NulBytes, Who::Entitled);
        if route.takes_body && !route.is_copy() {
            let good = route.body(OURS, true);
            for pointer in nodes(&good) {
                let mut body = route.body(OURS, true);
                let node = body.pointer_mut(&pointer).unwrap();
                let Some(text) = node.as_str() else {
                    continue;
                };
                for text in [format!("{text}\0"), format!("\0{text}"), "\0".to_owned()] {
                    *body.pointer_mut(&pointer).unwrap() = text.as_str().into();
                    let call = route.good(OURS).with_body(&body);
                    self.tries(kind, route, who, call.but(format!("{pointer} is {text:?}")))
                        .await;
                }
            }
        }
        for name in &route.queries {
            for value in ["%00", "desa%00satu", "2026%00"] {
                let call = route
                    .good(OURS)
                    .with_query(name, value)
                    .but(format!("{name}={value}"));
                self.tries(kind, route, who, call).await;
            }
        }
        for value in ["%00", "6281290000011%00", "desa-satu%00"] {
            self.tries_in_path(kind, route, value).await;
        }
    }
}

/// Everything about the routes that are meant.
async fn try_all(meant: impl Fn(&Route) -> bool) {
    let mut trial = Trial {
        world: World::new().await,
        fixed: BTreeSet::new(),
        excused: BTreeSet::new(),
        problems: Vec::new(),
    };
    trial.world.app.until_published().await;
    let before = trial.world.rows_of(THEIRS).await;
    for marker in MARKERS {
        assert!(before.to_string().contains(marker), "{marker} is nowhere");
    }
    let mut routes = Route::all();
    routes.retain(meant);
    for route in &routes {
        trial.strangers(route).await;
        trial.other_villages(route).await;
        trial.missing_villages(route).await;
        trial.wrong_types(route).await;
        trial.odd_bodies(route).await;
        trial.nul_bytes(route).await;
        let after = trial.world.rows_of(THEIRS).await;
        assert_eq!(after, before, "{} changed another village", route.name);
    }
    assert!(trial.problems.is_empty(), "{:#?}", trial.problems);
    let is_here = |name: &str| routes.iter().any(|route| route.name == name);
    for (entry, excuse) in NOT_TRIED.iter().enumerate() {
        let needed = trial.excused.contains(&entry);
        assert!(needed || !is_here(excuse.1), "not needed any more: {excuse:?}");
    }
    for (entry, fixed) in FIXED.iter().enumerate() {
        let needed = trial.fixed.contains(&entry);
        assert!(needed || !is_here(fixed.0), "not needed any more: {fixed:?}");
    }
    trial.world.app.finish().await;
}

/// Which test tries a route. Together they try all of them, each in a world of its own.
fn part_of(route: &Route) -> &'static str {
    match route.path.as_str() {
        path if path.starts_with("/internal/whatsapp") => "sessions",
        path if path.starts_with("/internal/conversations") => "conversations",
        path if path.starts_with("/internal") => "internal",
        path if path.starts_with("/api") => "dashboard",
        _ => "public",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_for_whatever_is_public() {
    try_all(|route| part_of(route) == "public").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_for_the_dashboard() {
    try_all(|route| part_of(route) == "dashboard").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_for_sessions() {
    try_all(|route| part_of(route) == "sessions").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_for_conversations() {
    try_all(|route| part_of(route) == "conversations").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_for_anything_else_of_other_services() {
    try_all(|route| part_of(route) == "internal").await;
}

#[test]
fn lists_name_routes_that_are_there() {
    let all = Route::all();
    let listed = NOT_TRIED.iter().map(|entry| entry.1);
    for name in listed.chain(FIXED.iter().map(|entry| entry.0)) {
        assert!(all.iter().any(|route| route.name == name), "{name}");
    }
}
