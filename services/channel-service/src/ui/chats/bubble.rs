//! A message as the thread shows it: when, by whom, in answer to what, and where it stands.

use chrono::{DateTime, Utc};
use console::Language;
use domain::delivery::DeliveryStatus;
use domain::message::{Direction, MessageSource};
use tenant_isolation::TenantScope;
use uuid::Uuid;

use super::part::Part;
use super::words;
use crate::flows::thread::Said;
use crate::media::MediaLinks;

/// Characters of a text that are shown at once.
const LONGEST: usize = 3_000;

/// A message in the thread.
pub(super) struct Bubble {
    pub(super) id: Uuid,
    /// The day that begins with it.
    pub(super) day: Option<String>,
    pub(super) is_out: bool,
    /// Who wrote it, where that is not plain.
    pub(super) who: String,
    /// The time of day, and the whole time.
    pub(super) time: String,
    pub(super) at: String,
    pub(super) quote: Option<Quote>,
    /// What sort of message it is, where the rest does not show it.
    pub(super) label: String,
    pub(super) part: Part,
    pub(super) text: String,
    /// There is more of the text.
    pub(super) is_cut: bool,
    pub(super) is_edited: bool,
    pub(super) is_deleted: bool,
    pub(super) reactions: Vec<String>,
    /// Where it stands, where it is ours.
    pub(super) standing: Option<Standing>,
}

/// The message that another one answers.
pub(super) struct Quote {
    /// Where it is; none where it is not in this chat.
    pub(super) id: Option<Uuid>,
    /// It is on the same page.
    pub(super) is_near: bool,
    pub(super) who: String,
    pub(super) text: String,
}

/// Where a message of ours stands.
pub(super) struct Standing {
    pub(super) tone: &'static str,
    pub(super) word: &'static str,
    /// Why, where something is wrong.
    pub(super) why: String,
}

/// What bubbles are made with.
pub(super) struct Shown<'a> {
    pub(super) l: Language,
    pub(super) scope: &'a TenantScope,
    pub(super) links: &'a MediaLinks,
    /// Messages reach the person by WhatsApp, so there is something to tell of how far they went.
    pub(super) is_whatsapp: bool,
    /// The message that is shown in its whole length.
    pub(super) whole: Option<Uuid>,
}

impl Shown<'_> {
    /// The bubbles of a page, oldest first.
    pub(super) fn bubbles(&self, page: &[Said]) -> Vec<Bubble> {
        let near = |id: Uuid| page.iter().any(|said| said.row.id == id);
        let mut last_day = String::new();
        page.iter()
            .map(|said| {
                let mut bubble = self.bubble(said);
                if let Some(quote) = &mut bubble.quote {
                    quote.is_near = quote.id.is_some_and(near);
                }
                let day = day(self.l, said.row.sent_at);
                if day != last_day {
                    bubble.day = Some(if day == self::day(self.l, Utc::now()) {
                        self.l.t("Today", "Hari ini").to_owned()
                    } else {
                        day.clone()
                    });
                    last_day = day;
                }
                bubble
            })
            .collect()
    }

    fn bubble(&self, said: &Said) -> Bubble {
        let (l, row) = (self.l, &said.row);
        let is_out = row.direction.parse() == Ok(Direction::Outbound);
        let is_deleted = row.revoked_at.is_some();
        let source: Option<MessageSource> = row.source.parse().ok();
        let who = if is_out {
            source.map_or("", |source| words::author(l, source)).to_owned()
        } else {
            row.sender_name.clone().unwrap_or_default()
        };
        let (label, part, text) = if is_deleted {
            let words = l.t("This message was deleted", "Pesan ini dihapus");
            (String::new(), Part::Nothing, words.to_owned())
        } else {
            self.content(said)
        };
        let end = (self.whole != Some(row.id))
            .then(|| text.char_indices().nth(LONGEST))
            .flatten()
            .map(|(end, _)| end);
        Bubble {
            id: row.id,
            day: None,
            is_out,
            who,
            time: clock(l, row.sent_at),
            at: row.sent_at.to_rfc3339(),
            quote: (!is_deleted).then(|| self.quote(said)).flatten(),
            label,
            part,
            is_cut: end.is_some(),
            text: match end {
                Some(end) => text[..end].to_owned(),
                None => text,
            },
            is_edited: row.edited_at.is_some() && !is_deleted,
            is_deleted,
            reactions: said.reactions.clone(),
            standing: (is_out && self.is_whatsapp).then(|| self.standing(said)),
        }
    }

    fn standing(&self, said: &Said) -> Standing {
        let status: DeliveryStatus = said.row.status.parse().unwrap_or(DeliveryStatus::Unknown);
        let (tone, word) = words::standing(self.l, status);
        let wrong = !matches!(
            status,
            DeliveryStatus::Sent | DeliveryStatus::Delivered | DeliveryStatus::Read
        );
        let reason = said.row.reason.as_deref().filter(|_| wrong);
        Standing {
            tone,
            word,
            why: reason
                .map(|reason| words::why(self.l, reason))
                .unwrap_or_default(),
        }
    }

    fn quote(&self, said: &Said) -> Option<Quote> {
        let l = self.l;
        if said.row.quoted.is_none() && said.row.target.is_none() {
            return None;
        }
        Some(match &said.quoted {
            Some(other) => Quote {
                id: Some(other.id),
                is_near: false,
                who: if other.direction.parse() == Ok(Direction::Outbound) {
                    l.t("You", "Anda").to_owned()
                } else {
                    l.t("They", "Mereka").to_owned()
                },
                text: if other.is_revoked {
                    l.t("This message was deleted", "Pesan ini dihapus").to_owned()
                } else {
                    words::excerpt(l, &other.body)
                },
            },
            None => Quote {
                id: None,
                is_near: false,
                who: String::new(),
                text: l
                    .t(
                        "An earlier message that is not here",
                        "Pesan lama yang tidak ada di sini",
                    )
                    .to_owned(),
            },
        })
    }
}

/// The time of day as the reader's language writes it.
fn clock(l: Language, at: DateTime<Utc>) -> String {
    let whole = l.when(at);
    whole.rsplit(' ').next().unwrap_or_default().to_owned()
}

/// The day as the reader's language writes it.
fn day(l: Language, at: DateTime<Utc>) -> String {
    let whole = l.when(at);
    let day = whole.rsplit_once(' ').map_or(whole.as_str(), |(day, _)| day);
    day.trim_end_matches(',').to_owned()
}

/// When something was, as short as possible: today the time of day, else the day.
pub(super) fn short_time(l: Language, at: DateTime<Utc>) -> String {
    let that_day = day(l, at);
    if that_day == day(l, Utc::now()) {
        clock(l, at)
    } else {
        that_day
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_taken_apart_as_its_language_writes_it() {
        let at: DateTime<Utc> = "2026-05-28T23:48:09Z".parse().unwrap();
        assert_eq!(
            (clock(Language::En, at), day(Language::En, at)),
            ("06:48".into(), "29 May 2026".into())
        );
        assert_eq!(
            (clock(Language::Id, at), day(Language::Id, at)),
            ("06.48".into(), "29 Mei 2026".into())
        );
    }
}
