//! SQL as far as it takes to see what a migration does: statements of words, without what stands in texts and in functions.

/// One statement, or one command of a `DO` block, which runs with the migration.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Statement {
    /// In capitals, names without their schema; a text or a function's body is `''`, everything else one sign.
    pub(crate) words: Vec<String>,
    /// The comments before it and in it, line by line.
    pub(crate) comments: Vec<String>,
}

impl Statement {
    pub(crate) fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }
}

#[derive(Debug)]
enum Token {
    Word(String),
    Sign(char),
    Text,
    /// Between dollars.
    Body(String),
    Comment(String),
}

/// Everything that runs, in order.
pub(crate) fn statements(sql: &str) -> Vec<Statement> {
    split(sql, false)
}

/// Words after which a command begins in a block.
const OPENERS: [&str; 5] = ["BEGIN", "DECLARE", "THEN", "ELSE", "LOOP"];

fn split(sql: &str, in_block: bool) -> Vec<Statement> {
    let mut found = Vec::new();
    let mut now = Statement::default();
    let mut block = Vec::new();
    let mut after_dot = false;
    for token in tokens(sql) {
        let dot = after_dot;
        after_dot = matches!(token, Token::Sign('.'));
        match token {
            Token::Comment(text) => now
                .comments
                .extend(text.lines().map(|line| line.trim().to_owned())),
            Token::Sign(';') => end(&mut found, &mut now, &mut block),
            Token::Word(word) if in_block && OPENERS.contains(&word.as_str()) => {
                end(&mut found, &mut now, &mut block);
            }
            // Of `schema.name` the name.
            Token::Sign('.') => {}
            Token::Word(word) if dot && !now.words.is_empty() => {
                now.words.pop();
                now.words.push(word);
            }
            Token::Word(word) => now.words.push(word),
            Token::Sign(sign) => now.words.push(sign.to_string()),
            Token::Text => now.words.push("''".to_owned()),
            Token::Body(body) => {
                if now.words.first().is_some_and(|word| word == "DO") {
                    block = split(&body, true);
                }
                now.words.push("''".to_owned());
            }
        }
    }
    end(&mut found, &mut now, &mut block);
    found
}

fn end(found: &mut Vec<Statement>, now: &mut Statement, block: &mut Vec<Statement>) {
    if !now.words.is_empty() {
        found.push(std::mem::take(now));
    }
    found.append(block);
}

fn tokens(sql: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let (token, length) = next(rest, first);
        found.extend(token);
        rest = &rest[length..];
    }
    found
}

/// What `rest` begins with, and how long that is.
fn next(rest: &str, first: char) -> (Option<Token>, usize) {
    if first.is_whitespace() {
        return (None, first.len_utf8());
    }
    if let Some(comment) = rest.strip_prefix("--") {
        let text = comment.lines().next().unwrap_or_default();
        return (Some(Token::Comment(text.to_owned())), 2 + text.len());
    }
    if rest.starts_with("/*") {
        let length = block_comment(rest);
        return (Some(Token::Comment(rest[..length].to_owned())), length);
    }
    if first == '\'' {
        return (Some(Token::Text), quoted(rest, '\'', false));
    }
    if rest.starts_with("E'") || rest.starts_with("e'") {
        return (Some(Token::Text), 1 + quoted(&rest[1..], '\'', true));
    }
    if first == '"' {
        let length = quoted(rest, '"', false);
        let name = rest[..length].trim_matches('"').to_uppercase();
        return (Some(Token::Word(name)), length);
    }
    if first == '$'
        && let Some((body, length)) = dollars(rest)
    {
        return (Some(Token::Body(body.to_owned())), length);
    }
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    if is_part(first) {
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        return (Some(Token::Word(rest[..length].to_uppercase())), length);
    }
    (Some(Token::Sign(first)), first.len_utf8())
}

/// They nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_u32;
    let mut at = 0;
    while at < rest.len() {
        match rest.get(at..at + 2) {
            Some("/*") => (depth, at) = (depth + 1, at + 2),
            Some("*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += rest[at..].chars().next().map_or(1, char::len_utf8),
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// A quote that is doubled is part of the text, and one behind a backslash where that counts.
fn quoted(rest: &str, quote: char, escapes: bool) -> usize {
    let mut at = 1;
    while at < rest.len() {
        let text = &rest[at..];
        let first = text.chars().next().unwrap_or_default();
        let second = text.chars().nth(1);
        if (escapes && first == '\\') || (first == quote && second == Some(quote)) {
            at += first.len_utf8() + second.map_or(0, char::len_utf8);
        } else if first == quote {
            return at + 1;
        } else {
            at += first.len_utf8();
        }
    }
    rest.len()
}

/// `$$ … $$` or `$tag$ … $tag$`.
fn dollars(rest: &str) -> Option<(&str, usize)> {
    let close = rest[1..].find('$')? + 2;
    let tag = &rest[..close];
    let name = &tag[1..close - 1];
    if name.starts_with(|c: char| c.is_ascii_digit())
        || !name.chars().all(|c| c.is_alphanumeric() || c == '_')
    {
        return None;
    }
    let length = rest[close..].find(tag)?;
    Some((&rest[close..close + length], close + length + tag.len()))
}

#[test]
fn statements_are_found_between_comments_texts_and_bodies() {
    let sql = r#"
        -- DROP TABLE a; in a comment
        CREATE TABLE channel."Chats" (name text DEFAULT 'it''s; DROP TABLE b'); /* one /* in */ DROP TABLE c; */
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN DROP TABLE d; RETURN NULL; END $body$;
        -- contract: why
        SELECT E'\'; DROP TABLE e', $1;
        DO $$ BEGIN IF true THEN DROP TABLE g; END IF; EXECUTE format('x'); END $$;
        DROP TABLE h
    "#;
    let found = statements(sql);
    let texts: Vec<String> = found.iter().map(|statement| statement.words.join(" ")).collect();
    assert_eq!(
        texts,
        [
            "CREATE TABLE CHATS ( NAME TEXT DEFAULT '' )",
            "CREATE FUNCTION F ( ) RETURNS TRIGGER LANGUAGE PLPGSQL AS ''",
            "SELECT '' , $1",
            "DO ''",
            "IF TRUE",
            "DROP TABLE G",
            "END IF",
            "EXECUTE FORMAT ( '' )",
            "END",
            "DROP TABLE H",
        ]
    );
    assert_eq!(found[2].comments, ["contract: why"]);
}
