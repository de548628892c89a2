//! Which requests are sends, and of what kind (contract §11).

use super::proxy_path::ProxyPath;

/// What a send sends. A fixed list: the last segment of a path is the caller's choice, and every kind is a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum SendKind {
    Text,
    Image,
    Audio,
    Document,
    Video,
    Sticker,
    Location,
    Contact,
    Template,
    Buttons,
    List,
    Poll,
    Edit,
    /// Anything else that begins like a send.
    Other,
}

impl SendKind {
    const NAMED: [Self; 13] = [
        Self::Text,
        Self::Image,
        Self::Audio,
        Self::Document,
        Self::Video,
        Self::Sticker,
        Self::Location,
        Self::Contact,
        Self::Template,
        Self::Buttons,
        Self::List,
        Self::Poll,
        Self::Edit,
    ];

    /// The kind of a request, if it is a send: judged by the path that goes upstream, so no spelling escapes.
    pub(crate) fn of(method: &str, path: &ProxyPath) -> Option<Self> {
        let rest = path.as_str().strip_prefix("/chat/send")?;
        if method != "POST" {
            return None;
        }
        let kind = rest.strip_prefix('/').unwrap_or_default();
        let named = Self::NAMED.into_iter().find(|named| named.as_str() == kind);
        Some(named.unwrap_or(Self::Other))
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Audio => "audio",
            Self::Document => "document",
            Self::Video => "video",
            Self::Sticker => "sticker",
            Self::Location => "location",
            Self::Contact => "contact",
            Self::Template => "template",
            Self::Buttons => "buttons",
            Self::List => "list",
            Self::Poll => "poll",
            Self::Edit => "edit",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(method: &str, raw: &str) -> Option<&'static str> {
        SendKind::of(method, &ProxyPath::judge(method, raw).unwrap()).map(SendKind::as_str)
    }

    #[test]
    fn every_spelling_of_a_send_is_one_and_kinds_are_few() {
        for (raw, expected) in [
            ("/chat/send/text", Some("text")),
            ("/chat/send/text/", Some("text")),
            ("/%63hat/sen%64/te%78t", Some("text")),
            ("/chat/send/poll", Some("poll")),
            ("/chat/send/edit", Some("edit")),
            ("/chat/send/abc", Some("other")),
            ("/chat/send/Text", Some("other")),
            ("/chat/send/text/more", Some("other")),
            ("/chat/send", Some("other")),
            ("/chat/sendfoo", Some("other")),
            ("/chat/react", None),
            ("/chat/delete", None),
            ("/status/set/text", None),
            ("/chat/Send/text", None),
        ] {
            assert_eq!(kind("POST", raw), expected, "{raw}");
        }
        for method in ["GET", "PUT", "PATCH", "DELETE", "HEAD"] {
            assert_eq!(kind(method, "/chat/send/text"), None, "{method}");
        }
    }
}
