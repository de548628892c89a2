//! The names of the server's events, and which of them somebody wants to hear of (wa-server contract 12).

use std::fmt;

use super::wire;

/// Names that a session subscribes to: known to the server, none of them twice. Written as the server writes them,
/// separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventList(Vec<&'static str>);

/// A name that the server does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid event: {0}")]
pub struct UnknownEvent(
    /// The beginning of it.
    pub String,
);

impl EventList {
    /// Everything: what is wanted of it, the reader decides.
    #[must_use]
    pub fn all() -> Self {
        Self(vec![wire::ALL_EVENTS])
    }

    /// Reads names that are separated by commas. Blanks around them and empty places mean nothing.
    ///
    /// # Errors
    /// [`UnknownEvent`], the first one.
    pub fn parse(text: &str) -> Result<Self, UnknownEvent> {
        let mut names = Vec::new();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let known = wire::EVENT_NAMES
                .into_iter()
                .find(|known| *known == name)
                .ok_or_else(|| UnknownEvent(name.chars().take(60).collect()))?;
            if !names.contains(&known) {
                names.push(known);
            }
        }
        Ok(Self(names))
    }

    /// The names.
    #[must_use]
    pub fn names(&self) -> &[&'static str] {
        &self.0
    }

    /// Is an event of this type wanted?
    #[must_use]
    pub fn wants(&self, kind: &str) -> bool {
        self.0
            .iter()
            .any(|name| *name == kind || *name == wire::ALL_EVENTS)
    }

    /// The list with this event in it.
    #[must_use]
    pub fn with(mut self, kind: &'static str) -> Self {
        if !self.wants(kind) {
            self.0.push(kind);
        }
        self
    }

    /// Are these the same names, in whatever order?
    #[must_use]
    pub fn same_as<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> bool {
        let mut theirs: Vec<&str> = names
            .into_iter()
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .collect();
        let mut ours = self.0.clone();
        theirs.sort_unstable();
        theirs.dedup();
        ours.sort_unstable();
        ours == theirs
    }
}

impl fmt::Display for EventList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_repetitions_mean_nothing_and_unknown_names_are_refused() {
        let list = EventList::parse(" Message, QR ,,Message").unwrap();
        assert_eq!(
            (list.to_string().as_str(), list.names()),
            ("Message,QR", &["Message", "QR"][..])
        );
        assert!(EventList::parse("").unwrap().names().is_empty());
        assert_eq!(
            EventList::parse("Message,message").unwrap_err().to_string(),
            "invalid event: message"
        );
    }

    #[test]
    fn all_wants_everything_and_a_list_what_it_names() {
        assert!(EventList::all().wants("Message"));
        let list = EventList::parse("QR").unwrap();
        assert!(!list.wants("Message") && list.clone().with("Message").wants("Message"));
        assert_eq!(EventList::all().with("Message"), EventList::all());
        assert!(list.same_as(["", "QR"]) && !list.same_as(["Message"]));
    }
}
