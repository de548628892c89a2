//! Contact cards: Meta takes a vCard apart, and everybody else wants one.

use domain::message::ContactCard;
use domain::text::Text;
use serde_json::value::RawValue;

use super::content::Cutter;
use super::{scalar, wire};

/// Most numbers, addresses and the like kept of one card, of each.
const MAX_ENTRIES: usize = 20;

pub(super) fn read(raw: &RawValue, cutter: &mut Cutter) -> Option<ContactCard> {
    let card: wire::Card<'_> = wire::object(raw.get())?;
    let name: wire::CardName<'_> = scalar::part(card.name);
    let parts = [&name.first_name, &name.middle_name, &name.last_name];
    let joined: Vec<&str> = parts.into_iter().filter_map(|part| part.filled()).collect();
    let display_name = cutter
        .optional(&name.formatted_name)
        .unwrap_or_else(|| Text::new(&joined.join(" ")));
    let vcard = match cutter.optional(&card.vcard) {
        Some(vcard) => Some(vcard),
        None => written(&card, &name, display_name.as_str()),
    };
    (!display_name.is_empty() || vcard.is_some()).then_some(ContactCard { display_name, vcard })
}

/// A vCard 3.0 of what is told. `None` when that is nothing but a name.
fn written(card: &wire::Card<'_>, name: &wire::CardName<'_>, display_name: &str) -> Option<Text> {
    let mut lines = Lines::default();
    let work: wire::CardWork<'_> = scalar::part(card.org);
    lines.add("ORG", &[&work.company, &work.department]);
    lines.add("TITLE", &[&work.title]);
    lines.add("BDAY", &[&card.birthday]);
    for entry in entries(card.phones) {
        let waid = scalar::phone(&entry.wa_id);
        let waid = waid.map_or_else(String::new, |phone| format!(";waid={}", phone.as_str()));
        lines.add(&format!("TEL{}{waid}", kind(&entry)), &[&entry.phone]);
    }
    for entry in entries(card.emails) {
        lines.add(&format!("EMAIL{}", kind(&entry)), &[&entry.email]);
    }
    for entry in entries(card.urls) {
        lines.add(&format!("URL{}", kind(&entry)), &[&entry.url]);
    }
    for entry in entries(card.addresses) {
        let nothing = wire::Loose::Nothing;
        let parts = [
            &nothing,
            &nothing,
            &entry.street,
            &entry.city,
            &entry.state,
            &entry.zip,
            &entry.country,
        ];
        lines.add(&format!("ADR{}", kind(&entry)), &parts);
    }
    if lines.0.is_empty() {
        return None;
    }
    let mut start = Lines::default();
    start.add(
        "N",
        &[
            &name.last_name,
            &name.first_name,
            &name.middle_name,
            &name.prefix,
            &name.suffix,
        ],
    );
    let text = format!(
        "BEGIN:VCARD\nVERSION:3.0\n{}FN:{}\n{}END:VCARD",
        start.0,
        escaped(display_name),
        lines.0
    );
    Some(Text::from(text))
}

fn entries(raw: Option<&RawValue>) -> impl Iterator<Item = wire::CardEntry<'_>> {
    raw.and_then(|raw| wire::list(raw.get()))
        .unwrap_or_default()
        .into_iter()
        .take(MAX_ENTRIES)
        .filter_map(|raw| wire::object(raw.get()))
}

/// `;type=WORK`, where the sender chose a word that cannot be anything else.
fn kind(entry: &wire::CardEntry<'_>) -> String {
    entry
        .kind
        .filled()
        .filter(|kind| kind.len() <= 32 && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
        .map_or_else(String::new, |kind| format!(";type={kind}"))
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    /// One line of several parts; none when all are empty.
    fn add(&mut self, name: &str, parts: &[&wire::Loose<'_>]) {
        if parts.iter().all(|part| part.filled().is_none()) {
            return;
        }
        let parts: Vec<String> = parts
            .iter()
            .map(|part| escaped(part.filled().unwrap_or_default()))
            .collect();
        // Empty parts at the end say nothing; an address has seven all the same.
        let line = parts.join(";");
        let line = if name.starts_with("ADR") || name == "N" {
            line.as_str()
        } else {
            line.trim_end_matches(';')
        };
        self.0.push_str(name);
        self.0.push(':');
        self.0.push_str(line);
        self.0.push('\n');
    }
}

/// A person's words in a vCard: they must not end their line or their field.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | ',' | ';' => escaped.extend(['\\', c]),
            '\n' => escaped.push_str("\\n"),
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}
