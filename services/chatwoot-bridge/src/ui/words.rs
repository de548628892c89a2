//! Codes of ours in people's words, in both languages.

use std::collections::BTreeMap;

use ::web::ApiError;
use actix_web::ResponseError as _;
use actix_web::body::MessageBody as _;
use actix_web::http::StatusCode;
use console::Language;
use serde_json::Value;

/// A state: how it is meant, and its word.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) tone: &'static str,
    pub(super) word: String,
}

impl State {
    pub(super) fn new(tone: &'static str, word: impl Into<String>) -> Self {
        Self {
            tone,
            word: word.into(),
        }
    }
}

/// Where an event stands.
pub(super) fn delivery(l: Language, state: &str) -> State {
    match state {
        "waiting" => State::new("idle", l.t("Waiting", "Menunggu")),
        "parked" => State::new("bad", l.t("Put aside", "Disisihkan")),
        "unknown" => State::new("warn", l.t("May have arrived", "Mungkin sudah sampai")),
        "delivered" => State::new("ok", l.t("Delivered", "Terkirim")),
        "dropped" => State::new("idle", l.t("Dropped", "Dibuang")),
        other => State::new("idle", other),
    }
}

/// Where a message of a connected inbox stands.
pub(super) fn message(l: Language, status: &str) -> State {
    match status {
        "queued" => State::new("idle", l.t("Queued", "Dalam antrean")),
        "sent" => State::new("ok", l.t("Sent", "Terkirim")),
        "delivered" => State::new("ok", l.t("Delivered", "Sampai")),
        "read" => State::new("ok", l.t("Read", "Dibaca")),
        "failed" => State::new("bad", l.t("Failed", "Gagal")),
        "parked" => State::new("bad", l.t("Put aside", "Disisihkan")),
        "unknown" => State::new("warn", l.t("May have arrived", "Mungkin sudah sampai")),
        "in_chatwoot" => State::new("ok", l.t("In Chatwoot", "Ada di Chatwoot")),
        other => State::new("idle", other),
    }
}

/// Where Chatwoot sends a route's events.
pub(super) fn drift(l: Language, state: &str) -> State {
    match state {
        "ok" => State::new("ok", l.t("Leads here", "Mengarah ke sini")),
        "changed" => State::new("bad", l.t("Leads elsewhere", "Mengarah ke tempat lain")),
        "missing" => State::new("bad", l.t("No webhook is set", "Webhook belum diatur")),
        "inbox_gone" => State::new("bad", l.t("The inbox is gone", "Inbox tidak ada lagi")),
        "token_refused" => State::new("warn", l.t("The token is refused", "Token ditolak")),
        "unreachable" => State::new("warn", l.t("Chatwoot did not answer", "Chatwoot tidak menjawab")),
        other => State::new("idle", other),
    }
}

/// What to do about it.
pub(super) fn drift_advice(l: Language, state: &str) -> &'static str {
    match state {
        "changed" | "missing" => l.t(
            "“Restore” sets the webhook of the inbox in Chatwoot to this bridge again.",
            "“Pulihkan” mengatur webhook inbox di Chatwoot kembali ke jembatan ini.",
        ),
        "inbox_gone" => l.t(
            "Somebody deleted the inbox in Chatwoot, or the token may not see it. Connect another one, or delete the route.",
            "Inbox dihapus di Chatwoot, atau token tidak dapat melihatnya. Hubungkan inbox lain, atau hapus rute ini.",
        ),
        "token_refused" => l.t(
            "Store a new access token of an administrator under “API tokens”.",
            "Simpan token akses administrator yang baru di “Token API”.",
        ),
        "unreachable" => l.t(
            "It is looked at again by itself.",
            "Akan diperiksa lagi secara otomatis.",
        ),
        _ => "",
    }
}

/// Why something did not arrive.
pub(super) fn reason(l: Language, code: &str) -> String {
    if let Some(status) = code.strip_prefix("http_") {
        return match l {
            Language::En => format!("the target answered {status}"),
            Language::Id => format!("tujuan menjawab {status}"),
        };
    }
    let known = match code {
        "timeout" => l.t("no answer in time", "tidak dijawab tepat waktu"),
        "unreachable" => l.t("the target cannot be reached", "tujuan tidak dapat dihubungi"),
        "connection_broken" => l.t("the connection broke", "sambungan terputus"),
        "interrupted" => l.t(
            "the process ended while it was under way",
            "proses berhenti saat sedang dikirim",
        ),
        "no_url" => l.t("the route has no URL any more", "rute tidak lagi punya URL"),
        "invalid_url" => l.t("the URL cannot be read", "URL tidak dapat dibaca"),
        "refused_url" => l.t("the address may not be dialled", "alamat tidak boleh dihubungi"),
        "invalid_header" => l.t("a header cannot be sent", "header tidak dapat dikirim"),
        "secret_does_not_open" => l.t(
            "a stored secret cannot be opened: a key is missing",
            "rahasia tersimpan tidak dapat dibuka: kunci tidak ada",
        ),
        "resting" => l.t(
            "the target failed lately and is left alone for a moment",
            "tujuan baru saja gagal dan dibiarkan sejenak",
        ),
        "no_webhook" => l.t("no webhook came", "tidak ada webhook yang datang"),
        "not_tried" => l.t("not tried", "tidak dicoba"),
        "chatwoot_token_refused" => l.t("Chatwoot refuses the token", "Chatwoot menolak token"),
        "chatwoot_not_found" => l.t("Chatwoot does not know it", "Chatwoot tidak mengenalnya"),
        "chatwoot_busy" => l.t("Chatwoot is busy", "Chatwoot sedang sibuk"),
        _ => return code.replace('_', " "),
    };
    known.to_owned()
}

/// A step of an event's journey: how it is meant, and what happened.
pub(super) fn step(l: Language, step: &str, detail: Option<&str>) -> State {
    let why = detail.map(|code| reason(l, code)).unwrap_or_default();
    let with = |en: &str, id: &str| match why.is_empty() {
        true => l.t(en, id).to_owned(),
        false => format!("{}: {why}", l.t(en, id)),
    };
    match step {
        "failed" => State::new("warn", with("A try failed", "Satu percobaan gagal")),
        "parked" => State::new("bad", with("Put aside", "Disisihkan")),
        "unknown" => State::new(
            "warn",
            with(
                "Put aside, the target may have it",
                "Disisihkan, mungkin sudah diterima tujuan",
            ),
        ),
        "delivered" => State::new("ok", with("The target took it", "Diterima oleh tujuan")),
        "replayed" => {
            let who = detail.unwrap_or_default();
            State::new(
                "idle",
                match l {
                    Language::En => format!("Sent again by {who}"),
                    Language::Id => format!("Dikirim ulang oleh {who}"),
                },
            )
        }
        "shown" => State::new("idle", written_back(l, detail.unwrap_or_default())),
        other => State::new("idle", other),
    }
}

fn written_back(l: Language, outcome: &str) -> String {
    match outcome {
        "sent" => l.t(
            "The agent sees in Chatwoot that it was sent",
            "Agen melihat di Chatwoot bahwa pesan terkirim",
        ),
        "failed" => l.t(
            "The agent sees in Chatwoot that it failed",
            "Agen melihat di Chatwoot bahwa pesan gagal",
        ),
        "failed_with_note" => l.t(
            "The agent sees in Chatwoot that it failed, with a private note",
            "Agen melihat di Chatwoot bahwa pesan gagal, dengan catatan pribadi",
        ),
        "no_token" => l.t(
            "Chatwoot was not told: no API token is stored",
            "Chatwoot tidak diberi tahu: token API belum disimpan",
        ),
        "message_gone" => l.t(
            "Chatwoot was not told: the message is gone there",
            "Chatwoot tidak diberi tahu: pesan sudah tidak ada",
        ),
        _ => l.t(
            "Chatwoot was not told: the route is gone",
            "Chatwoot tidak diberi tahu: rute sudah tidak ada",
        ),
    }
    .to_owned()
}

/// What a task that was put aside was to do.
pub(super) fn task(l: Language, kind: &str) -> String {
    match kind {
        "incoming_message" => l.t("A person's message to Chatwoot", "Pesan orang ke Chatwoot"),
        "phone_message" => l.t(
            "A message from the phone to Chatwoot",
            "Pesan dari ponsel ke Chatwoot",
        ),
        "history_message" => l.t("An older message to Chatwoot", "Pesan lama ke Chatwoot"),
        "late_file" => l.t("A file to Chatwoot", "Berkas ke Chatwoot"),
        "profile" => l.t("A person's profile to Chatwoot", "Profil orang ke Chatwoot"),
        "status" => l.t("A status to Chatwoot", "Status ke Chatwoot"),
        "chat_merged" => l.t("Two chats became one", "Dua percakapan digabung"),
        "write_back" => l.t(
            "A failure to be shown in Chatwoot",
            "Kegagalan untuk ditampilkan di Chatwoot",
        ),
        "retry_reply" => l.t("A reply that is sent again", "Balasan yang dikirim ulang"),
        "reply" => l.t("An agent's reply to WhatsApp", "Balasan agen ke WhatsApp"),
        other => return other.replace('_', " "),
    }
    .to_owned()
}

/// What a refusal of a call says.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    pub(super) code: String,
    text: String,
    /// What is wrong with which field, in English.
    pub(super) fields: BTreeMap<String, String>,
    pub(super) request_id: Option<String>,
}

impl Refusal {
    pub(super) fn of(error: &ApiError) -> Self {
        let body = error.error_response().into_body().try_into_bytes();
        Self::read(&body.unwrap_or_default())
    }

    pub(super) fn read(body: &[u8]) -> Self {
        let said: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |name: &str| said.get(name).and_then(Value::as_str).map(str::to_owned);
        let fields = said.get("fields").and_then(Value::as_object);
        let rule =
            |(name, rule): (&String, &Value)| (name.clone(), rule.as_str().unwrap_or_default().to_owned());
        Self {
            code: text("code").unwrap_or_default(),
            text: text("error").unwrap_or_default(),
            fields: fields.into_iter().flatten().map(rule).collect(),
            request_id: text("request_id"),
        }
    }

    pub(super) fn heading(&self, l: Language, status: StatusCode) -> String {
        let words = match status {
            StatusCode::NOT_FOUND => l.t("There is nothing here", "Tidak ada apa-apa di sini"),
            StatusCode::FORBIDDEN => l.t("This is not allowed", "Ini tidak diizinkan"),
            StatusCode::TOO_MANY_REQUESTS => l.t("Too many tries", "Terlalu banyak percobaan"),
            StatusCode::SERVICE_UNAVAILABLE => l.t("Not now", "Belum bisa sekarang"),
            status if status.is_server_error() && status != StatusCode::BAD_GATEWAY => {
                l.t("That is our fault", "Ini kesalahan kami")
            }
            _ => l.t("That did not work", "Itu tidak berhasil"),
        };
        words.to_owned()
    }

    /// What happened and what to do, line by line.
    pub(super) fn lines(&self, l: Language) -> Vec<String> {
        let mut lines = vec![self.line(l)];
        lines.extend(
            self.fields
                .iter()
                .map(|(name, text)| format!("{name}: {}", rule(l, text))),
        );
        lines
    }

    /// What happened and what to do.
    pub(super) fn line(&self, l: Language) -> String {
        let known = match self.code.as_str() {
            "route_taken" => l.t(
                "This inbox has a route already, or another route takes its events. Search for it and change that one.",
                "Inbox ini sudah punya rute, atau rute lain mengambil peristiwanya. Cari rute itu lalu ubah.",
            ),
            "no_such_route" | "no_such_page" | "route_not_found" | "invalid_route_id" => l.t(
                "There is no such page or route; it may have been deleted.",
                "Halaman atau rute ini tidak ada; mungkin sudah dihapus.",
            ),
            "no_such_delivery" => l.t(
                "This event is not put aside any more.",
                "Peristiwa ini tidak lagi disisihkan.",
            ),
            "no_such_inbox" => l.t("No such inbox is connected.", "Inbox ini tidak terhubung."),
            "other_site" => l.t(
                "This was sent by a page of another site. Open the page here and try again.",
                "Ini dikirim dari halaman situs lain. Buka halaman di sini lalu coba lagi.",
            ),
            "invalid_fields" => l.t(
                "Some fields have to be put right.",
                "Beberapa isian perlu diperbaiki.",
            ),
            "invalid_inbox_id" | "fields_missing" => l.t(
                "An inbox id, a number, and a URL are needed.",
                "Id inbox berupa angka dan URL wajib diisi.",
            ),
            "too_many_requests" => l.t(
                "There were too many wrong passwords from your address. Wait a moment and reload the page.",
                "Terlalu banyak kata sandi salah dari alamat Anda. Tunggu sebentar lalu muat ulang halaman.",
            ),
            "temporarily_unavailable" => l.t(
                "Something that this service needs is away for the moment. Reload the page in some seconds.",
                "Sesuatu yang dibutuhkan layanan ini sedang tidak tersedia. Muat ulang dalam beberapa detik.",
            ),
            "internal" | "internal_error" => l.t(
                "The log of the service tells more, under the number below.",
                "Log layanan menjelaskan lebih lanjut, dengan nomor di bawah ini.",
            ),
            "bridge_url_unknown" => l.t(
                "PUBLIC_BRIDGE_URL is not set, so nobody knows where Chatwoot has to send its webhooks. Set it and start the service again.",
                "PUBLIC_BRIDGE_URL belum diatur, sehingga tidak diketahui ke mana Chatwoot harus mengirim webhook. Atur lalu jalankan ulang layanan.",
            ),
            "token_refused" => l.t(
                "Chatwoot does not know this token. Copy the access token of an administrator again, from the profile settings.",
                "Chatwoot tidak mengenal token ini. Salin lagi token akses administrator dari pengaturan profil.",
            ),
            "token_without_right" => l.t(
                "The token is good, but not for this account's inboxes. It must be an administrator's of the account.",
                "Token ini benar, tetapi tidak untuk inbox akun ini. Token harus milik administrator akun.",
            ),
            "token_not_seen" => l.t(
                "The token did not reach Chatwoot. A proxy in front of it drops the header api_access_token; in nginx switch underscores_in_headers on.",
                "Token tidak sampai ke Chatwoot. Proxy di depannya membuang header api_access_token; di nginx aktifkan underscores_in_headers.",
            ),
            "which_whatsapp_account" => l.t(
                "Choose the tenant's account on WhatsApp.",
                "Pilih akun WhatsApp milik tenant.",
            ),
            "inbox_taken" => l.t(
                "This inbox is connected already, to another tenant or to another account of this tenant.",
                "Inbox ini sudah terhubung, ke tenant lain atau ke akun lain milik tenant ini.",
            ),
            "not_an_api_inbox" => l.t(
                "This inbox is for another channel. Choose an API inbox, or have a new one made.",
                "Inbox ini untuk kanal lain. Pilih inbox API, atau buat yang baru.",
            ),
            "history_under_way" => l.t(
                "An import of this inbox is under way already.",
                "Impor untuk inbox ini sudah berjalan.",
            ),
            "no_such_history" => l.t(
                "There is no import in that state.",
                "Tidak ada impor dalam keadaan itu.",
            ),
            "no_channel_service" => l.t(
                "CHANNEL_SERVICE_URL is not set, so there is nowhere to read history from.",
                "CHANNEL_SERVICE_URL belum diatur, sehingga riwayat tidak dapat dibaca.",
            ),
            _ => return self.text.clone(),
        };
        known.to_owned()
    }

    /// What is wrong with a field.
    pub(super) fn field(&self, l: Language, name: &str) -> String {
        match (self.fields.get(name), self.code.as_str(), name) {
            (Some(text), ..) => rule(l, text),
            (None, "invalid_inbox_id", "inboxId") => rule(l, "must be a whole number above 0"),
            _ => String::new(),
        }
    }
}

/// What a field has to be.
fn rule(l: Language, text: &str) -> String {
    let id = match text {
        "must be a whole number above 0" => "harus bilangan bulat di atas 0",
        "must have 1 to 64 letters, digits, '.', '_' or '-'" => {
            "harus 1 sampai 64 huruf, angka, '.', '_' atau '-'"
        }
        "must be a tenant's id" => "harus id sebuah tenant",
        "must be an account's id" => "harus id sebuah akun",
        "is needed" => "wajib diisi",
        "must be a whole URL, such as https://chat.example" => {
            "harus URL lengkap, misalnya https://chat.example"
        }
        text if text.starts_with("must be a whole URL") => {
            "harus URL lengkap yang diawali https:// atau http://"
        }
        text if text.contains("private") => {
            "alamat ini privat; OUTBOUND_ALLOWED_PRIVATE_HOSTS menentukan yang boleh"
        }
        _ => text,
    };
    l.t(text, id).to_owned()
}
