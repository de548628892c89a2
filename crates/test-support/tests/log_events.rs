//! `docs/LOGS.md` names every line that the services write, and no other.
//!
//! The sources are read as tokens, so that a text or a comment that looks like an event is none.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
/// No part of a service.
const FOR_TESTS: [&str; 3] = ["simulator", "test-support", "end-to-end"];

/// Crate, level and message.
type Event = (String, String, String);
type Fields = BTreeSet<String>;

#[test]
fn every_line_of_the_log_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let written = written(&root);
    assert!(written.len() > 100, "the sources were not found");
    let documented = documented(&std::fs::read_to_string(root.join("docs/LOGS.md")).unwrap());
    let missing: Vec<_> = written
        .iter()
        .filter(|(event, _)| !documented.contains_key(*event))
        .collect();
    assert!(missing.is_empty(), "docs/LOGS.md lacks {missing:#?}");
    let gone: Vec<_> = documented
        .keys()
        .filter(|event| !written.contains_key(*event))
        .collect();
    assert!(
        gone.is_empty(),
        "docs/LOGS.md names what nobody writes any more: {gone:#?}"
    );
    for (event, fields) in &written {
        assert_eq!(
            &documented[event], fields,
            "the fields of {event:?} in docs/LOGS.md"
        );
    }
}

#[test]
fn events_are_found_wherever_they_stand() {
    let source = r#"
        // warn!("a comment")
        fn f() {
            let text = "info!(\"a text\")";
            if x { tracing::warn!(error = chain(&a, b), tenant = %scope.tenant(), self.reason, ?kind, "one \
                thing"); }
            select! { _ = y => error!("another"), }
        }
        #[cfg(test)]
        mod tests { fn g() { info!("of a test") } }
        #[cfg(test)]
        use warn;
        fn h() { debug!(target: "x", %error, "a third {}", y); }
    "#;
    let mut found = Vec::new();
    collect(source.parse().unwrap(), &mut found);
    let fields = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Fields>();
    let expected = [
        (
            "warn",
            "one thing",
            fields(&["error", "kind", "reason", "tenant"]),
        ),
        ("error", "another", fields(&[])),
        ("debug", "a third {}", fields(&["error"])),
    ];
    let expected = expected.map(|(level, message, fields)| (level.to_owned(), message.to_owned(), fields));
    assert_eq!(found, expected);
}

/// Every event in the sources, with all fields that it has anywhere.
fn written(root: &Path) -> BTreeMap<Event, Fields> {
    let mut events: BTreeMap<Event, Fields> = BTreeMap::new();
    for place in ["crates", "services"] {
        for entry in std::fs::read_dir(root.join(place)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if FOR_TESTS.contains(&name.as_str()) {
                continue;
            }
            let mut files = Vec::new();
            sources(&root.join(place).join(&name).join("src"), &mut files);
            for file in files {
                let mut found = Vec::new();
                collect(
                    std::fs::read_to_string(&file).unwrap().parse().unwrap(),
                    &mut found,
                );
                for (level, message, fields) in found {
                    events
                        .entry((name.clone(), level, message))
                        .or_default()
                        .extend(fields);
                }
            }
        }
    }
    events
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
}

fn collect(tokens: TokenStream, found: &mut Vec<(String, String, Fields)>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Group(group) if group.to_string().replace(' ', "") == "[cfg(test)]" => {
                at += item(&tokens[at..]);
            }
            TokenTree::Group(group) => collect(group.stream(), found),
            TokenTree::Ident(level) if LEVELS.iter().any(|known| level == known) => {
                if let Some(arguments) = arguments(&tokens[at..]) {
                    let (message, fields) = parts(arguments);
                    found.push((level.to_string(), message, fields));
                    at += 2;
                }
            }
            _ => {}
        }
    }
}

/// How many tokens the item has that stands here.
fn item(tokens: &[TokenTree]) -> usize {
    let is_end = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(mark) => mark.as_char() == ';',
        _ => false,
    };
    tokens.iter().position(is_end).map_or(tokens.len(), |end| end + 1)
}

fn arguments(tokens: &[TokenTree]) -> Option<TokenStream> {
    match tokens {
        [TokenTree::Punct(mark), TokenTree::Group(group), ..] if mark.as_char() == '!' => {
            Some(group.stream())
        }
        _ => None,
    }
}

/// The message and the names of the fields of one event.
fn parts(arguments: TokenStream) -> (String, Fields) {
    let tokens: Vec<TokenTree> = arguments.into_iter().collect();
    let is =
        |token: &TokenTree, wanted: char| matches!(token, TokenTree::Punct(mark) if mark.as_char() == wanted);
    let mut fields = Fields::new();
    for part in tokens.split(|token| is(token, ',')) {
        if let [TokenTree::Literal(message)] = part {
            return (unquoted(&message.to_string()), fields);
        }
        // `target: "…"` is no field.
        if part.get(1).is_some_and(|token| is(token, ':')) {
            continue;
        }
        let named = part.iter().position(|token| is(token, '=')).unwrap_or(part.len());
        let name = part[..named]
            .iter()
            .rev()
            .find(|token| matches!(token, TokenTree::Ident(_)));
        fields.extend(name.map(ToString::to_string));
    }
    panic!("an event without a message: {fields:?}")
}

/// The text of a literal; of escapes there are a quote and a line that goes on in the next one.
fn unquoted(literal: &str) -> String {
    let mut lines = literal.trim_matches('"').split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let text = lines.fold(first, |text, line| text + line.trim_start());
    text.replace("\\\"", "\"")
}

/// The tables of the page: a section for each crate.
fn documented(page: &str) -> BTreeMap<Event, Fields> {
    let (mut events, mut section) = (BTreeMap::new(), "");
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            section = name;
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [level, message, fields, meaning, action] = cells[..] else {
            continue;
        };
        if !LEVELS.contains(&level) {
            continue;
        }
        assert!(
            meaning.len() > 3,
            "docs/LOGS.md does not say what this means: {line}"
        );
        let is_grave = matches!(level, "error" | "warn");
        assert!(
            !is_grave || action.len() > 3,
            "docs/LOGS.md does not say what to do: {line}"
        );
        let fields = fields.split(',').map(|field| field.trim().trim_matches('`'));
        let fields = fields.filter(|field| *field != "–").map(str::to_owned).collect();
        let event = (section.to_owned(), level.to_owned(), message.to_owned());
        assert_eq!(
            events.insert(event, fields),
            None,
            "twice in docs/LOGS.md: {line}"
        );
    }
    events
}
