//! Stands for channel-service's internal routes: tells what a test wants told.

use std::sync::{Arc, Mutex};

use actix_web::dev::ServerHandle;
use actix_web::web::{Data, Query};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use chatwoot_bridge::channel::ChannelService;
use runtime::config::{BaseUrl, Setting as _};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) const KEY: &str = "internal-key-not-real";

#[derive(Default)]
struct Told {
    accounts: Value,
    history: Vec<Value>,
    /// Pages that were asked for.
    asked: usize,
    /// Answers 503.
    away: bool,
}

pub(crate) struct ChannelStub {
    told: Arc<Mutex<Told>>,
    pub(crate) service: ChannelService,
    /// Where it is.
    pub(crate) base: BaseUrl,
    handle: ServerHandle,
}

#[derive(Deserialize)]
struct Asked {
    village_id: String,
    #[serde(default)]
    after: String,
    #[serde(default)]
    limit: usize,
}

impl ChannelStub {
    pub(crate) fn start() -> Self {
        let told = Arc::new(Mutex::new(Told::default()));
        let data = Data::from(Arc::clone(&told));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .route("/internal/accounts", web::get().to(accounts))
                .route("/internal/history", web::get().to(history))
        })
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .unwrap();
        let base = format!("http://{}", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        let base = BaseUrl::from_text(&base).unwrap();
        Self {
            told,
            service: ChannelService::new(&base, SecretString::from(KEY)).unwrap(),
            base,
            handle,
        }
    }

    pub(crate) fn accounts_are(&self, accounts: Value) {
        self.told.lock().unwrap().accounts = accounts;
    }

    /// What chats hold, oldest first.
    pub(crate) fn history_is(&self, history: Vec<Value>) {
        self.told.lock().unwrap().history = history;
    }

    pub(crate) fn is_away(&self, away: bool) {
        self.told.lock().unwrap().away = away;
    }

    pub(crate) fn asked(&self) -> usize {
        self.told.lock().unwrap().asked
    }
}

impl Drop for ChannelStub {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

fn is_known(request: &HttpRequest) -> bool {
    request
        .headers()
        .get("x-internal-api-key")
        .is_some_and(|key| key == KEY)
}

async fn accounts(request: HttpRequest, asked: Query<Asked>, told: Data<Mutex<Told>>) -> HttpResponse {
    let told = told.lock().unwrap();
    if !is_known(&request) || asked.village_id != "desa-a" {
        return HttpResponse::Forbidden().finish();
    }
    HttpResponse::Ok().json(json!({"success": true, "data": told.accounts}))
}

async fn history(request: HttpRequest, asked: Query<Asked>, told: Data<Mutex<Told>>) -> HttpResponse {
    let mut told = told.lock().unwrap();
    if !is_known(&request) || asked.village_id != "desa-a" {
        return HttpResponse::Forbidden().finish();
    }
    if told.away {
        return HttpResponse::ServiceUnavailable().finish();
    }
    told.asked += 1;
    let id = |entry: &Value| entry["message"]["message_id"].as_str().unwrap().to_owned();
    let from = told.history.iter().position(|entry| id(entry) == asked.after);
    let from = from.map_or(0, |at| at + 1);
    let page: Vec<Value> = told
        .history
        .iter()
        .skip(from)
        .take(asked.limit)
        .cloned()
        .collect();
    let is_full = page.len() == asked.limit;
    let next = page.last().filter(|_| is_full).map(id);
    HttpResponse::Ok().json(json!({"success": true, "data": page, "next": next}))
}
