//! Files of `NAME=value` lines, as `.env` files are written.
//!
//! | value | how it is read |
//! |---|---|
//! | `'…'` or `` `…` `` | as it stands, over as many lines as it takes |
//! | `"…"` | the same, with `\n`, `\r`, `\t`, `\"`, `\\` and `\$` |
//! | begins with `[` or `{` | JSON: to the bracket that closes it, over as many lines as it takes |
//! | anything else | to the end of the line or to ` #`, without blanks around it |
//!
//! Nothing is substituted: `$` stays `$`. A comment begins with `#`, `export` before a name is passed over, and of two
//! values of one name the later counts.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

/// Largest file that is read, in bytes.
pub const MOST: u64 = 1024 * 1024;

/// What is wrong with a file. Says where and never what stands there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvFileError {
    /// It is not there, no plain file, too large, not UTF-8, or may not be read.
    #[error("cannot be read: it must be a file of UTF-8 text, at most 1 MiB, that this process may read")]
    Unreadable,
    /// A line is no assignment.
    #[error("line {line}: {rule}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What would be right.
        rule: &'static str,
    },
}

/// Reads a file.
///
/// # Errors
/// [`EnvFileError`] for the first mistake.
pub fn read(path: &Path) -> Result<BTreeMap<String, String>, EnvFileError> {
    parse(&read_text(path, MOST).ok_or(EnvFileError::Unreadable)?)
}

/// The text of a plain file of at most `most` bytes. `None` for anything else.
#[must_use]
pub fn read_text(path: &Path, most: u64) -> Option<String> {
    // Looked at before it is opened: a pipe would keep us waiting.
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let file = std::fs::File::open(path).ok()?;
    let mut text = String::new();
    file.take(most + 1).read_to_string(&mut text).ok()?;
    (text.len() as u64 <= most).then_some(text)
}

/// Reads the text of a file.
///
/// # Errors
/// [`EnvFileError::Line`] for the first mistake.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, EnvFileError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut values = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let line = text[..text.len() - rest.len()].matches('\n').count() + 1;
        let (next, assignment) = assignment(rest).map_err(|rule| EnvFileError::Line { line, rule })?;
        values.extend(assignment);
        rest = next;
    }
    Ok(values)
}

const ASSIGNMENT: &str = "is no NAME=value; a name has letters, digits and _, and a comment begins with #";
const QUOTE: &str = "the quote at the beginning of the value is never closed";
const BRACKET: &str = "the bracket at the beginning of the value is never closed; text that is no JSON goes in \
                       single quotes";
const BEHIND: &str = "something stands behind the end of the value; a comment begins with #";

type Assignment = Option<(String, String)>;

/// The first line and what belongs to it: what comes after, and what was assigned.
fn assignment(text: &str) -> Result<(&str, Assignment), &'static str> {
    let (line, next) = split_line(text);
    let plain = line.trim();
    if plain.is_empty() || plain.starts_with('#') {
        return Ok((next, None));
    }
    let (left, _) = line.split_once('=').ok_or(ASSIGNMENT)?;
    let name = left.trim();
    let name = match name.strip_prefix("export") {
        Some(exported) if exported.starts_with([' ', '\t']) => exported.trim(),
        _ => name,
    };
    if !is_name(name) {
        return Err(ASSIGNMENT);
    }
    let value = text[left.len() + 1..].trim_start_matches([' ', '\t']);
    let (value, rest) = match value.chars().next() {
        Some(quote @ ('\'' | '`')) => {
            let (inside, rest) = value[1..].split_once(quote).ok_or(QUOTE)?;
            (inside.to_owned(), rest)
        }
        Some('"') => escaped(&value[1..])?,
        Some('[' | '{') => {
            let end = json_end(value).ok_or(BRACKET)?;
            (value[..end].to_owned(), &value[end..])
        }
        _ => {
            let (line, next) = split_line(value);
            let end = line.find(" #").or_else(|| line.find("\t#"));
            let bare = if line.starts_with('#') {
                ""
            } else {
                line[..end.unwrap_or(line.len())].trim()
            };
            return Ok((next, Some((name.to_owned(), bare.to_owned()))));
        }
    };
    let (behind, next) = split_line(rest);
    let behind = behind.trim();
    if !behind.is_empty() && !behind.starts_with('#') {
        return Err(BEHIND);
    }
    Ok((next, Some((name.to_owned(), value))))
}

fn split_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

/// May this name a variable?
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && text.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

/// What stands in double quotes, and what comes after them.
fn escaped(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, 't')) => value.push('\t'),
                Some((_, c @ ('"' | '\\' | '$'))) => value.push(c),
                Some((_, c)) => value.extend(['\\', c]),
                None => return Err(QUOTE),
            },
            c => value.push(c),
        }
    }
    Err(QUOTE)
}

/// Where the bracket is closed that the text begins with.
fn json_end(text: &str) -> Option<usize> {
    let (mut depth, mut in_text, mut escape) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escape => escape = false,
            b'\\' if in_text => escape = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> String {
        parse(text).unwrap().remove("A").unwrap()
    }

    #[test]
    fn values_are_read_as_people_write_them() {
        for (text, expected) in [
            ("A=1", "1"),
            ("  export A = one two  # three\n", "one two"),
            ("A=a#b", "a#b"),
            ("A=\r\nB=2", ""),
            ("A=# nothing", ""),
            ("A='it is \\n $HOME # so'", "it is \\n $HOME # so"),
            ("A=`it's`", "it's"),
            ("A=\"one\\n\\\"two\\\" \\x \\$3\" # four", "one\n\"two\" \\x $3"),
            ("A='one\ntwo'\nB=3", "one\ntwo"),
            ("A=1\nA=2", "2"),
            ("\u{feff}A=1", "1"),
            ("# A=0\n\nA=1", "1"),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn json_may_take_many_lines() {
        let json = "[\n  {\"name\": \"a ] \\\" }\", \"n\": [1, {}]},\n\n  # not ours to judge\n  {}\n]";
        let text = format!("B=1\nA={json} # the end\nC=3");
        let values = parse(&text).unwrap();
        assert_eq!(values["A"], json);
        assert_eq!(values["C"], "3");
        assert_eq!(parse(&format!("A='{json}'\n")).unwrap()["A"], json);
    }

    #[test]
    fn mistakes_say_where_and_not_what() {
        for (text, line) in [
            ("A=1\n\ns3cret", 3),
            ("1A=s3cret", 1),
            ("A-B=s3cret", 1),
            ("=s3cret", 1),
            ("A=1\nB='s3cret\n\n", 2),
            ("A=\"s3cret", 1),
            ("A=\"s3cret\\", 1),
            ("A='x' s3cret", 1),
            ("A=[{}\n\ns3cret", 1),
            ("A=[1] s3cret", 1),
        ] {
            let error = parse(text).unwrap_err();
            assert!(
                matches!(error, EnvFileError::Line { line: at, .. } if at == line),
                "{text}: {error}"
            );
            assert!(!error.to_string().contains("s3cret"));
        }
    }

    #[test]
    fn only_plain_files_of_a_size_are_read() {
        let dir = std::env::temp_dir().join(format!("kanal-env-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&dir).unwrap();
        assert_eq!(read(&dir), Err(EnvFileError::Unreadable));
        assert_eq!(read(&dir.join("none")), Err(EnvFileError::Unreadable));
        std::fs::write(dir.join("large"), "A=1\n".repeat(300_000)).unwrap();
        assert_eq!(read(&dir.join("large")), Err(EnvFileError::Unreadable));
        std::fs::write(dir.join(".env"), "A=1\n").unwrap();
        assert_eq!(read(&dir.join(".env")).unwrap()["A"], "1");
    }
}
