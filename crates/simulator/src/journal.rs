//! A bounded, numbered list of what happened, read back by tests and people.

use std::collections::{BTreeMap, VecDeque};

/// How many entries a journal keeps before it forgets the oldest. Large enough for a long soak, small enough for a laptop.
pub const JOURNAL_LIMIT: usize = 200_000;
/// Streams that are remembered; the oldest that are done are forgotten first.
pub(crate) const STREAM_LIMIT: usize = 1_000;

/// The number for a new stream, and room for it.
pub(crate) fn new_stream<P>(streams: &mut BTreeMap<u64, P>, done: impl Fn(&P) -> bool) -> u64 {
    if streams.len() >= STREAM_LIMIT {
        let oldest = streams.iter().find(|(_, stream)| done(stream)).map(|(id, _)| *id);
        if let Some(id) = oldest {
            streams.remove(&id);
        }
    }
    streams.last_key_value().map_or(1, |(id, _)| id + 1)
}

/// Entries numbered 1, 2, 3 …; the oldest fall out when the journal is full, the numbers go on.
#[derive(Debug)]
pub(crate) struct Journal<T> {
    entries: VecDeque<T>,
    pushed: u64,
}

impl<T> Default for Journal<T> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            pushed: 0,
        }
    }
}

impl<T: Clone> Journal<T> {
    /// Appends the entry that `make` builds from its own number, and returns the number.
    pub(crate) fn push(&mut self, make: impl FnOnce(u64) -> T) -> u64 {
        self.pushed += 1;
        self.entries.push_back(make(self.pushed));
        if self.entries.len() > JOURNAL_LIMIT {
            self.entries.pop_front();
        }
        self.pushed
    }

    /// With `after`: the first `limit` matching entries numbered above it. Without: the newest `limit`. Always oldest first.
    pub(crate) fn page(
        &self,
        after: Option<u64>,
        limit: Option<usize>,
        matches: impl Fn(&T) -> bool,
    ) -> Vec<T> {
        let limit = limit.unwrap_or(JOURNAL_LIMIT);
        if let Some(after) = after {
            let forgotten = self.pushed - self.entries.len() as u64;
            let skip = usize::try_from(after.saturating_sub(forgotten)).unwrap_or(usize::MAX);
            return self
                .entries
                .iter()
                .skip(skip)
                .filter(|e| matches(e))
                .take(limit)
                .cloned()
                .collect();
        }
        let mut newest: Vec<T> = self
            .entries
            .iter()
            .rev()
            .filter(|e| matches(e))
            .take(limit)
            .cloned()
            .collect();
        newest.reverse();
        newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_by_number_and_from_the_end() {
        let mut journal = Journal::default();
        for _ in 0..10 {
            journal.push(|number| number);
        }
        assert_eq!(journal.page(Some(7), None, |_| true), [8, 9, 10]);
        assert_eq!(journal.page(Some(0), Some(2), |n| n % 2 == 0), [2, 4]);
        assert_eq!(journal.page(None, Some(2), |_| true), [9, 10]);
        assert!(journal.page(Some(99), None, |_| true).is_empty());
    }

    #[test]
    fn streams_that_are_done_make_room_and_numbers_go_on() {
        let mut streams = BTreeMap::new();
        for number in 1..=STREAM_LIMIT as u64 + 5 {
            let id = new_stream(&mut streams, |done| *done);
            assert_eq!(id, number);
            // The first one goes on for ever.
            streams.insert(id, id > 1);
        }
        assert_eq!(streams.len(), STREAM_LIMIT);
        assert!(streams.contains_key(&1) && !streams.contains_key(&2));
    }
}
