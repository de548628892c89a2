//! What the AI wrote, as it goes out: cleaned texts, contact cards (channel-service contract 3.8 and 6.3).

use domain::message::{ContactCard, MessageContent};
use domain::text::Text;
use messaging::events::govconnect::AiContact;

/// Before these a blank line is put.
const MARKERS: [&str; 10] = ["📋", "🎫", "📍", "🔍", "💡", "✅", "⚠️", "📝", "🕐", "•"];
/// Longest name, office or post on a card, in characters.
const CARD_LABEL: usize = 200;
/// Shorter numbers are no subscriber's and are dialled as they are.
const SHORT_NUMBER: usize = 6;

/// Makes a text readable on a phone: written-out line ends become line ends, and where several pictographs divide the
/// text, each division begins a paragraph.
#[must_use]
pub fn tidy(text: &str) -> String {
    let text = text.replace("\\n", "\n");
    if text.chars().filter(|c| is_pictograph(*c)).count() < 2 {
        return text;
    }
    let mut tidied = String::with_capacity(text.len() + 64);
    for (at, character) in text.char_indices() {
        let divides = MARKERS.iter().any(|marker| text[at..].starts_with(marker));
        if divides && tidied.chars().next_back().is_some_and(|before| before != '\n') {
            tidied.push_str("\n\n");
        }
        tidied.push(character);
    }
    tidied
}

const fn is_pictograph(character: char) -> bool {
    matches!(character, '\u{1F300}'..='\u{1F9FF}' | '\u{2600}'..='\u{26FF}' | '\u{2700}'..='\u{27BF}')
}

/// A contact as a message: the card, and what a person reads where cards are not shown. `None`: it has no name or no
/// number.
#[must_use]
pub fn contact(contact: &AiContact) -> Option<(MessageContent, String)> {
    let label = |text: &str| Text::label(text, CARD_LABEL).map(Text::into_string);
    let name = label(&contact.name)?;
    let number = dialled(&contact.phone)?;
    let organization = contact.organization.as_deref().and_then(label);
    let title = contact.title.as_deref().and_then(label);

    let card = vcard(&name, organization.as_deref(), title.as_deref(), &number);
    let lines = [Some(format!("👤 {name}")), title, organization, Some(number)];
    let body = lines.into_iter().flatten().collect::<Vec<_>>().join("\n");
    let content = MessageContent::Contacts {
        contacts: vec![ContactCard {
            display_name: Text::from(name),
            vcard: Some(Text::from(card)),
        }],
    };
    Some((content, body))
}

/// The card, line by line as the contract has it. Labels hold no line ends, so nothing can be slipped in.
fn vcard(name: &str, organization: Option<&str>, title: Option<&str>, number: &str) -> String {
    let (first, rest) = name.split_once(' ').unwrap_or(("", name));
    let mut lines = vec![
        "BEGIN:VCARD".to_owned(),
        "VERSION:3.0".to_owned(),
        format!("N:{first};{};;;", rest.trim_start()),
        format!("FN:{name}"),
    ];
    lines.extend(organization.map(|organization| format!("ORG:{organization};")));
    lines.extend(title.map(|title| format!("TITLE:{title}")));
    lines.push(format!("TEL;type=CELL;type=pref:{number}"));
    lines.push("END:VCARD".to_owned());
    lines.join("\n")
}

/// A number on a card: national ones are Indonesian, because their writers are. Never used to send to.
fn dialled(phone: &str) -> Option<String> {
    let digits: String = phone.chars().filter(char::is_ascii_digit).take(20).collect();
    if digits.is_empty() {
        None
    } else if digits.len() <= SHORT_NUMBER {
        Some(digits)
    } else if let Some(national) = digits.strip_prefix('0') {
        Some(format!("+62{national}"))
    } else {
        Some(format!("+{digits}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_pictographs_divide_a_text() {
        for (written, read) in [
            ("Baik\\nTerima kasih", "Baik\nTerima kasih"),
            ("Syarat: 📋 KTP", "Syarat: 📋 KTP"),
            ("Syarat: 📋 KTP ✅ KK", "Syarat: \n\n📋 KTP \n\n✅ KK"),
            ("📋 KTP\n✅ KK • asli", "📋 KTP\n✅ KK \n\n• asli"),
            ("Halo 😀 📍 Balai ⚠️ tutup", "Halo 😀 \n\n📍 Balai \n\n⚠️ tutup"),
            ("• satu • dua", "• satu • dua"),
        ] {
            assert_eq!(tidy(written), read);
        }
    }

    fn card(name: &str, phone: &str, organization: Option<&str>, title: Option<&str>) -> AiContact {
        serde_json::from_value(serde_json::json!({
            "name": name, "phone": phone, "organization": organization, "title": title
        }))
        .unwrap()
    }

    #[test]
    fn a_card_has_the_contracts_lines() {
        let (content, body) = contact(&card(
            "Budi Santoso Putra",
            "0812-9000-0044",
            Some("Kantor Desa"),
            Some("Lurah"),
        ))
        .unwrap();
        let MessageContent::Contacts { contacts } = content else {
            panic!("no card")
        };
        assert_eq!(
            contacts[0].vcard.as_ref().unwrap().as_str(),
            "BEGIN:VCARD\nVERSION:3.0\nN:Budi;Santoso Putra;;;\nFN:Budi Santoso Putra\nORG:Kantor Desa;\nTITLE:Lurah\n\
             TEL;type=CELL;type=pref:+6281290000044\nEND:VCARD"
        );
        assert_eq!(body, "👤 Budi Santoso Putra\nLurah\nKantor Desa\n+6281290000044");
    }

    #[test]
    fn nothing_is_slipped_into_a_card_and_numbers_stay_what_they_are() {
        let (content, _) = contact(&card("Ambulans\nTEL:666", "118", None, None)).unwrap();
        let MessageContent::Contacts { contacts } = content else {
            panic!("no card")
        };
        let vcard = contacts[0].vcard.as_ref().unwrap().as_str();
        assert!(vcard.contains("\nN:Ambulans;TEL:666;;;\n"), "{vcard}");
        assert!(vcard.contains("pref:118\n"), "{vcard}");
        assert_eq!(dialled("+49 151 12345678").unwrap(), "+4915112345678");
        assert!(contact(&card("Budi", "tidak ada", None, None)).is_none());
        assert!(contact(&card(" ", "0812", None, None)).is_none());
    }
}
