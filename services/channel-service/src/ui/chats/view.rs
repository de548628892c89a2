//! What the templates of chats show: the list, and one of them opened.

use chrono::{DateTime, TimeDelta, Utc};
use console::Language;
use domain::address::ChatAddress;
use domain::chat::{Channel, Place as Several};
use domain::endpoint::Provider;
use tenant_isolation::TenantScope;
use uuid::Uuid;

use super::bubble::{Bubble, Shown, short_time};
use super::words;
use crate::flows::chat_list::{Page, Sought};
use crate::flows::identifier::{can_be_written_to, write_identifier};
use crate::flows::thread::Thread;
use crate::media::MediaLinks;
use crate::store::chat::ChatRow;
use crate::store::chat_list::{Among, ListedRow, Place};
use crate::ui::HOME;
use crate::ui::visit::TenantVisit;

/// For so long after a person wrote Meta lets anything be sent to them.
const WINDOW: TimeDelta = TimeDelta::hours(24);

/// Where the chats of a tenant are.
pub(super) fn base(scope: &TenantScope) -> String {
    format!("{HOME}/t/{}/chats", scope.tenant())
}

/// A chat in the list.
pub(super) struct Item {
    pub(super) id: Uuid,
    pub(super) name: String,
    /// The number, or what there is in its place.
    pub(super) number: String,
    pub(super) excerpt: String,
    pub(super) time: String,
    pub(super) unread: i32,
    pub(super) is_taken: bool,
    /// The AI did not manage to answer.
    pub(super) is_stuck: bool,
    pub(super) account: String,
    pub(super) is_open: bool,
}

/// The list.
pub(super) struct ListView {
    pub(super) l: Language,
    pub(super) base: String,
    pub(super) csrf: String,
    pub(super) items: Vec<Item>,
    pub(super) among: Among,
    /// What is looked for; empty for nothing.
    pub(super) sought: String,
    /// Where the next page begins; empty where there is none.
    pub(super) next: String,
    /// It does not begin with the newest chat.
    pub(super) is_later: bool,
    /// Another one than before, when something is another.
    pub(super) mark: String,
}

impl ListView {
    pub(super) fn new(
        visit: &TenantVisit,
        page: &Page,
        among: Among,
        sought: Option<&Sought>,
        after: Place,
        open: Option<Uuid>,
    ) -> Self {
        let l = visit.l();
        Self {
            l,
            base: base(&visit.scope),
            csrf: visit.secret.csrf_token(),
            items: page.chats.iter().map(|row| item(l, row, open)).collect(),
            among,
            sought: sought
                .map(|sought| sought.as_str().to_owned())
                .unwrap_or_default(),
            next: page.next.map(write_place).unwrap_or_default(),
            is_later: after != Place::TOP,
            mark: page.mark.clone(),
        }
    }

    /// What changes in it is shown by itself: it is the beginning of all chats.
    pub(super) fn is_live(&self) -> bool {
        self.among == Among::All && self.sought.is_empty() && !self.is_later
    }

    pub(super) fn filter(&self) -> &'static str {
        word_of(self.among)
    }

    /// Every filter: its word, its name, and whether it is chosen.
    pub(super) fn filters(&self) -> [(&'static str, &'static str, bool); 3] {
        let named = |among, en: &'static str, id: &'static str| {
            (word_of(among), self.l.t(en, id), among == self.among)
        };
        [
            named(Among::All, "All", "Semua"),
            named(Among::Unread, "Unread", "Belum dibaca"),
            named(Among::TakenOver, "Taken over", "Diambil alih"),
        ]
    }
}

/// A filter in addresses.
pub(super) const fn word_of(among: Among) -> &'static str {
    match among {
        Among::All => "all",
        Among::Unread => "unread",
        Among::TakenOver => "taken",
    }
}

pub(super) fn read_filter(word: Option<&str>) -> Among {
    match word {
        Some("unread") => Among::Unread,
        Some("taken") => Among::TakenOver,
        _ => Among::All,
    }
}

/// A place in the list in an address: a time in microseconds, and a chat.
pub(super) fn write_place(place: Place) -> String {
    format!("{}.{}", place.at.timestamp_micros(), place.id.simple())
}

pub(super) fn read_place(text: Option<&str>) -> Option<Place> {
    let (at, id) = text?.split_once('.')?;
    Some(Place {
        at: DateTime::from_timestamp_micros(at.parse().ok()?)?,
        id: Uuid::try_parse(id).ok()?,
    })
}

fn item(l: Language, row: &ListedRow, open: Option<Uuid>) -> Item {
    let (name, number) = called(l, &row.chat);
    Item {
        id: row.chat.id,
        name,
        number,
        excerpt: words::excerpt(l, &row.chat.last_text),
        time: short_time(l, row.chat.last_message_at),
        unread: row.chat.unread,
        is_taken: row.chat.is_takeover,
        is_stuck: row.chat.ai_status.as_deref() == Some("error"),
        account: account(row.account_name.as_deref(), row.account_phone.as_deref()),
        is_open: open == Some(row.chat.id),
    }
}

/// What a person is called, and their number.
fn called(l: Language, chat: &ChatRow) -> (String, String) {
    let number = match ChatAddress::parse(&chat.address) {
        Ok(ChatAddress::Visitor(_)) => l.t("Web chat", "Obrolan web").to_owned(),
        Ok(address @ (ChatAddress::Group(_) | ChatAddress::Other(_))) => match Several::of(&address) {
            Some(Several::Group) => l.t("Group", "Grup").to_owned(),
            Some(Several::Broadcast) => l.t("Broadcast list", "Daftar siaran").to_owned(),
            Some(Several::Status) => l.t("Status posts", "Status").to_owned(),
            None => address.to_string(),
        },
        Ok(ChatAddress::Lid(_) | ChatAddress::User(_)) if chat.phone.is_none() => {
            l.t("Hidden number", "Nomor disembunyikan").to_owned()
        }
        _ => with_plus(write_identifier(&chat.address, chat.phone.as_deref())),
    };
    match chat.user_name.as_deref().filter(|name| !name.trim().is_empty()) {
        Some(name) => (words::shortened(name, 80), number),
        None => (number, String::new()),
    }
}

fn with_plus(identifier: &str) -> String {
    if identifier.bytes().all(|b| b.is_ascii_digit()) && !identifier.starts_with('0') {
        format!("+{identifier}")
    } else {
        identifier.to_owned()
    }
}

fn account(name: Option<&str>, phone: Option<&str>) -> String {
    match (name, phone) {
        (Some(name), _) => name.to_owned(),
        (None, Some(phone)) => with_plus(phone),
        (None, None) => String::new(),
    }
}

/// What somebody was about to send when it was not taken, or what they are about to answer.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) text: String,
    /// Why it was not sent.
    pub(super) error: String,
    /// The message that is answered.
    pub(super) to: Option<Uuid>,
}

/// A chat opened.
pub(super) struct ThreadView {
    pub(super) l: Language,
    pub(super) tenant: String,
    pub(super) base: String,
    pub(super) csrf: String,
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) number: String,
    pub(super) account: String,
    pub(super) bubbles: Vec<Bubble>,
    /// The message before which older ones are.
    pub(super) older: Option<Uuid>,
    pub(super) is_newest: bool,
    /// Who has taken it over; empty for nobody.
    pub(super) taken_by: String,
    pub(super) taken_since: String,
    /// How the AI stands, in a line.
    pub(super) ai: String,
    pub(super) ai_tone: &'static str,
    pub(super) is_whatsapp: bool,
    /// It can be answered.
    pub(super) is_open: bool,
    /// What stands in the way of an answer, or soon will.
    pub(super) hindrance: String,
    pub(super) hindrance_tone: &'static str,
    /// Where that can be mended; empty for nowhere.
    pub(super) remedy: String,
    pub(super) mark: String,
    /// The form's key.
    pub(super) key: Uuid,
    pub(super) draft: Draft,
}

impl ThreadView {
    pub(super) fn new(
        visit: &TenantVisit,
        links: &MediaLinks,
        has_ai: bool,
        thread: &Thread,
        whole: Option<Uuid>,
        draft: Draft,
    ) -> Self {
        let l = visit.l();
        let (name, number) = called(l, &thread.chat);
        let is_whatsapp = thread.chat.channel != Channel::Webchat.as_str();
        let shown = Shown {
            l,
            scope: &visit.scope,
            links,
            is_whatsapp,
            whole,
        };
        let bubbles = shown.bubbles(&thread.messages);
        let person = ChatAddress::parse(&thread.chat.address).ok();
        let older = bubbles
            .first()
            .map(|bubble| bubble.id)
            .filter(|_| thread.is_older);
        let (hindrance, hindrance_tone, remedy) = hindrance(visit, thread, is_whatsapp);
        let (ai, ai_tone) = ai(l, has_ai, thread);
        let takeover = thread.takeover.as_ref();
        Self {
            l,
            tenant: visit.scope.tenant().to_string(),
            base: base(&visit.scope),
            csrf: visit.secret.csrf_token(),
            id: thread.chat.id,
            name,
            number,
            account: account(thread.sender.name.as_deref(), thread.sender.phone.as_deref()),
            bubbles,
            older,
            is_newest: thread.is_newest,
            taken_by: takeover
                .map(|taken| taken.admin_name.clone().unwrap_or_else(|| taken.admin_id.clone()))
                .unwrap_or_default(),
            taken_since: takeover.map(|taken| l.when(taken.started_at)).unwrap_or_default(),
            ai,
            ai_tone,
            is_whatsapp,
            is_open: person.as_ref().is_some_and(can_be_written_to),
            hindrance,
            hindrance_tone,
            remedy,
            mark: thread.mark.clone(),
            key: Uuid::now_v7(),
            draft,
        }
    }

    /// The message that is about to be answered, where it is on the page.
    pub(super) fn answered(&self) -> Option<&Bubble> {
        let id = self.draft.to?;
        self.bubbles.iter().find(|bubble| bubble.id == id)
    }
}

/// How the AI stands, in a line.
fn ai(l: Language, has_ai: bool, thread: &Thread) -> (String, &'static str) {
    let line = |tone, en: &'static str, id: &'static str| (l.t(en, id).to_owned(), tone);
    if thread.takeover.is_some() {
        return line(
            "warn",
            "A person answers here. The AI is silent until the chat is handed back.",
            "Percakapan ini dijawab orang. AI diam sampai percakapan dikembalikan.",
        );
    }
    if !has_ai {
        return line(
            "idle",
            "No AI is set up: people answer here.",
            "AI tidak diaktifkan: percakapan dijawab orang.",
        );
    }
    match thread.chat.ai_status.as_deref() {
        Some("error") => line(
            "bad",
            "The AI could not answer the last message. Answer it yourself.",
            "AI tidak dapat menjawab pesan terakhir. Jawablah sendiri.",
        ),
        Some(_) => line("ok", "The AI is writing an answer.", "AI sedang menulis jawaban."),
        None => line(
            "ok",
            "The AI answers this chat. Take it over to answer yourself.",
            "AI menjawab percakapan ini. Ambil alih untuk menjawab sendiri.",
        ),
    }
}

/// What stands in the way of an answer, how bad it is, and where it can be mended.
fn hindrance(visit: &TenantVisit, thread: &Thread, is_whatsapp: bool) -> (String, &'static str, String) {
    let l = visit.l();
    let nothing = (String::new(), "", String::new());
    if !is_whatsapp {
        return nothing;
    }
    if !thread.sender.has_session {
        let words = l.t(
            "The WhatsApp number of this chat is not connected, so nothing can be sent. Connect it first.",
            "Nomor WhatsApp percakapan ini tidak terhubung, jadi tidak ada yang dapat dikirim. Hubungkan dahulu.",
        );
        let remedy = format!("{HOME}/t/{}/device", visit.scope.tenant());
        return (words.to_owned(), "bad", remedy);
    }
    let person = ChatAddress::parse(&thread.chat.address).ok();
    let is_cloud = thread.sender.provider == Provider::Cloud.as_str();
    if !is_cloud || !person.is_some_and(|person| person.is_direct()) {
        return nothing;
    }
    let ends = thread.sender.last_inbound_at.map(|last| last + WINDOW);
    match ends {
        Some(ends) if ends > Utc::now() => (
            format!(
                "{} {}.",
                l.t(
                    "WhatsApp lets you write freely here until",
                    "WhatsApp mengizinkan Anda menulis bebas di sini sampai",
                ),
                l.when(ends)
            ),
            "ok",
            String::new(),
        ),
        _ => (window_closed(l), "warn", String::new()),
    }
}

/// The person's window is closed, and what can be done.
pub(super) fn window_closed(l: Language) -> String {
    l.t(
        "The person has not written within the last 24 hours, so WhatsApp delivers only approved templates. \
         Wait until they write, or send a template.",
        "Orang ini tidak menulis dalam 24 jam terakhir, jadi WhatsApp hanya mengantarkan templat yang disetujui. \
         Tunggu sampai ia menulis, atau kirim templat.",
    )
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_its_address() {
        let place = Place {
            at: "2026-05-28T23:48:09.123456Z".parse().unwrap(),
            id: Uuid::now_v7(),
        };
        assert_eq!(read_place(Some(&write_place(place))), Some(place));
        for wrong in ["", ".", "1", "1.x", "x.019a", "99999999999999999999.0"] {
            assert_eq!(read_place(Some(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn a_filter_survives_its_address() {
        for among in [Among::All, Among::Unread, Among::TakenOver] {
            assert_eq!(read_filter(Some(word_of(among))), among);
        }
        assert_eq!(read_filter(Some("x")), Among::All);
    }
}
