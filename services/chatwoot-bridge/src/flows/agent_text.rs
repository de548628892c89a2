//! From what Chatwoot's editor makes of an agent's words to what WhatsApp shows (contract 4.3; 6, 17).
//!
//! | Chatwoot | WhatsApp |
//! |---|---|
//! | `**x**`, `__x__` | `*x*` |
//! | `*x*` | `_x_` |
//! | `***x***` | `*_x_*` |
//! | `~~x~~` | `~x~` |
//! | `# x` | `*x*` |
//! | `* x`, `+ x` as an item | `- x` |
//! | `[x](https://…)`, `<https://…>` | `x (https://…)`, `https://…` |
//! | `` `x` `` and blocks of code | the same, nothing inside is touched |
//! | `\*`, a backslash before a line break, `<br>`, `&nbsp;` | `*`, a line break, a line break, a blank |
//!
//! Whatever only looks like a mark (`2 * 3`, `snake_case`, `a*b*c`) and every web address stay as they are.

/// Marks inside marks that are looked at; deeper ones stay as they are.
const MOST_NESTED: usize = 4;
/// As far as the end of code, of a link or of an address in brackets is looked for, in bytes.
const NEAR: usize = 2_048;
/// Longest signature, in characters.
const LONGEST_NAME: usize = 80;

/// The words as WhatsApp shows them.
#[must_use]
pub fn for_whatsapp(content: &str) -> String {
    let content = without_leftovers(content);
    let mut text = String::with_capacity(content.len());
    let mut in_code = false;
    for (number, line) in content.split('\n').enumerate() {
        if number > 0 {
            text.push('\n');
        }
        if let Some(behind) = line.trim_start().strip_prefix("```") {
            // A block that ends in its own line is no block.
            let is_fence = !behind.contains("```");
            // WhatsApp would show the name of the language as a line of the code.
            text.push_str(if is_fence { "```" } else { line });
            in_code ^= is_fence;
        } else if in_code {
            text.push_str(line);
        } else {
            push_line(&mut text, line);
        }
    }
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    text
}

/// The words under the name of whoever wrote them.
#[must_use]
pub fn signed(name: &str, delimiter: &str, text: &str) -> String {
    let name: String = name
        .chars()
        .filter(|c| !c.is_control() && !matches!(c, '*' | '_' | '~' | '`'))
        .take(LONGEST_NAME)
        .collect();
    let name = name.trim();
    if name.is_empty() {
        return text.to_owned();
    }
    format!("*{name}*{delimiter}{text}")
}

/// The editor leaves a backslash before line breaks and empty lines at the end.
fn without_leftovers(content: &str) -> String {
    let text = content
        .replace("\r\n", "\n")
        .replace("\\\n", "\n")
        .replace('\0', "");
    text.trim_end_matches(['\n', '\r']).to_owned()
}

fn push_line(text: &mut String, line: &str) {
    if let Some(heading) = heading(line) {
        let mut inner = String::new();
        Inline::of(heading, 0).push_to(&mut inner);
        let is_bold = inner.len() > 1 && inner.starts_with('*') && inner.ends_with('*');
        if is_bold || inner.is_empty() {
            text.push_str(&inner);
        } else {
            text.push('*');
            text.push_str(&inner);
            text.push('*');
        }
        return;
    }
    let rest = line.trim_start();
    let indent = &line[..line.len() - rest.len()];
    let item = rest.strip_prefix("* ").or_else(|| rest.strip_prefix("+ "));
    match item {
        Some(item) => {
            text.push_str(indent);
            text.push_str("- ");
            Inline::of(item, 0).push_to(text);
        }
        None => Inline::of(line, 0).push_to(text),
    }
}

fn heading(line: &str) -> Option<&str> {
    let rest = line.trim_start_matches('#');
    let level = line.len() - rest.len();
    ((1..=6).contains(&level) && rest.starts_with(' ')).then(|| rest.trim())
}

/// A mark around words.
#[derive(Clone, Copy)]
struct Mark {
    from: &'static str,
    open: &'static str,
    close: &'static str,
    /// It is none in the middle of a word.
    whole_words: bool,
}

/// Longest first: a shorter one begins like it.
const MARKS: [Mark; 5] = [
    Mark {
        from: "***",
        open: "*_",
        close: "_*",
        whole_words: false,
    },
    Mark {
        from: "**",
        open: "*",
        close: "*",
        whole_words: false,
    },
    Mark {
        from: "~~",
        open: "~",
        close: "~",
        whole_words: false,
    },
    Mark {
        from: "__",
        open: "*",
        close: "*",
        whole_words: true,
    },
    Mark {
        from: "*",
        open: "_",
        close: "_",
        whole_words: true,
    },
];

/// What the editor writes instead of a character.
const ENTITIES: [(&str, &str); 6] = [
    ("&nbsp;", " "),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", "\""),
    ("&#39;", "'"),
    ("&amp;", "&"),
];

/// One line, read from left to right.
struct Inline<'a> {
    line: &'a str,
    depth: usize,
    /// Of a mark that was looked for in vain, there is none further right either: so a line is read in a time that grows
    /// with its length and no faster.
    in_vain: [bool; MARKS.len()],
}

impl<'a> Inline<'a> {
    const fn of(line: &'a str, depth: usize) -> Self {
        Self {
            line,
            depth,
            in_vain: [false; MARKS.len()],
        }
    }

    fn push_to(mut self, text: &mut String) {
        let mut at = 0;
        let mut before = None;
        while let Some(next) = self.line[at..].chars().next() {
            let end = self.step(at, next, before, text);
            before = self.line[..end].chars().next_back();
            at = end;
        }
    }

    /// Writes what stands at `at`, and says where the rest begins: always further on.
    fn step(&mut self, at: usize, next: char, before: Option<char>, text: &mut String) -> usize {
        let rest = &self.line[at..];
        let special = match next {
            '\\' => escaped(rest),
            '`' => code(rest),
            '<' => bracketed(rest),
            '&' => ENTITIES
                .iter()
                .find(|(entity, _)| rest.starts_with(entity))
                .map(|(entity, character)| (entity.len(), (*character).to_owned())),
            '[' => link(rest),
            '!' if rest.starts_with("![") => link(&rest[1..]).map(|(length, text)| (length + 1, text)),
            'h' if !before.is_some_and(char::is_alphanumeric) => address(rest),
            '*' | '_' | '~' => self.marked(at, before),
            _ => None,
        };
        match special {
            Some((length, written)) => {
                text.push_str(&written);
                at + length
            }
            // All of a run at once, so that what was no mark as a whole is none in its parts.
            None if matches!(next, '*' | '_' | '~') => {
                let run = rest.len() - rest.trim_start_matches(next).len();
                text.push_str(&rest[..run]);
                at + run
            }
            None => {
                text.push(next);
                at + next.len_utf8()
            }
        }
    }

    fn marked(&mut self, at: usize, before: Option<char>) -> Option<(usize, String)> {
        if self.depth >= MOST_NESTED {
            return None;
        }
        let rest = &self.line[at..];
        let first = rest.chars().next()?;
        let run = rest.len() - rest.trim_start_matches(first).len();
        for (number, mark) in MARKS.iter().enumerate() {
            // `**` in a run of three is no bold: the third one would be left over.
            if mark.from.len() != run || !rest.starts_with(mark.from) {
                continue;
            }
            let inside = &rest[run..];
            let opens = inside.chars().next().is_some_and(|c| !c.is_whitespace())
                && !(mark.whole_words && before.is_some_and(char::is_alphanumeric));
            if !opens || self.in_vain[number] {
                return None;
            }
            let Some(length) = closing(inside, *mark) else {
                self.in_vain[number] = true;
                return None;
            };
            let mut written = String::from(mark.open);
            Inline::of(&inside[..length], self.depth + 1).push_to(&mut written);
            written.push_str(mark.close);
            return Some((run + length + run, written));
        }
        None
    }
}

/// How long the words are that a mark ends behind.
fn closing(inside: &str, mark: Mark) -> Option<usize> {
    let first = mark.from.chars().next()?;
    let mut at = 0;
    let mut before: Option<char> = None;
    while let Some(next) = inside[at..].chars().next() {
        let rest = &inside[at..];
        if next == '\\'
            && let Some((length, _)) = escaped(rest)
        {
            at += length;
            before = Some('\\');
            continue;
        }
        if next == '`'
            && let Some((length, _)) = code(rest)
        {
            at += length;
            before = Some('`');
            continue;
        }
        if next != first {
            at += next.len_utf8();
            before = Some(next);
            continue;
        }
        let run = rest.len() - rest.trim_start_matches(first).len();
        let behind = rest[run..].chars().next();
        let closes = before.is_some_and(|c| !c.is_whitespace())
            && !(mark.whole_words && behind.is_some_and(char::is_alphanumeric));
        // In a longer run the outer mark ends last.
        if closes && (run == mark.from.len() || (run == 3 && mark.from.len() == 2)) {
            return Some(at + run - mark.from.len());
        }
        at += run;
        before = Some(first);
    }
    None
}

/// The beginning of a text: what has its end further away is none, and a long line is read in no time.
fn near(rest: &str) -> &str {
    let mut end = rest.len().min(NEAR);
    while !rest.is_char_boundary(end) {
        end -= 1;
    }
    &rest[..end]
}

/// `\*`: the mark, and no mark.
fn escaped(rest: &str) -> Option<(usize, String)> {
    let character = rest[1..].chars().next()?;
    character
        .is_ascii_punctuation()
        .then(|| (2, character.to_string()))
}

/// Code in a line, as it stands.
fn code(rest: &str) -> Option<(usize, String)> {
    let run = rest.len() - rest.trim_start_matches('`').len();
    let fence = &rest[..run];
    let length = run + near(&rest[run..]).find(fence)? + run;
    Some((length, rest[..length].to_owned()))
}

/// `<https://…>`, and the only tag that the editor leaves behind.
fn bracketed(rest: &str) -> Option<(usize, String)> {
    let end = near(rest).find('>')?;
    let inside = &rest[1..end];
    let tag = inside.trim_end_matches(['/', ' ']);
    if tag.eq_ignore_ascii_case("br") {
        return Some((end + 1, "\n".to_owned()));
    }
    let is_address = ["https://", "http://", "mailto:"]
        .iter()
        .any(|scheme| inside.starts_with(scheme));
    (is_address && !inside.contains(char::is_whitespace))
        .then(|| (end + 1, inside.trim_start_matches("mailto:").to_owned()))
}

/// `[words](https://…)`.
fn link(rest: &str) -> Option<(usize, String)> {
    let (words, behind) = near(&rest[1..]).split_once("](")?;
    let (target, _) = behind.split_once(')')?;
    // A title may follow the address.
    let address = target.split_whitespace().next()?;
    let is_address = ["https://", "http://", "mailto:", "tel:"]
        .iter()
        .any(|scheme| address.starts_with(scheme));
    if !is_address || words.contains('[') {
        return None;
    }
    let length = 1 + words.len() + 2 + target.len() + 1;
    let bare = address.trim_start_matches("mailto:").trim_start_matches("tel:");
    let mut written = String::new();
    Inline::of(words, MOST_NESTED - 1).push_to(&mut written);
    if written.is_empty() || written == address || written == bare {
        return Some((length, bare.to_owned()));
    }
    written.push_str(" (");
    written.push_str(bare);
    written.push(')');
    Some((length, written))
}

/// A web address, whose underscores and stars are no marks.
fn address(rest: &str) -> Option<(usize, String)> {
    if !rest.starts_with("http://") && !rest.starts_with("https://") {
        return None;
    }
    let end = rest
        .find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '*' | ')' | ']'))
        .unwrap_or(rest.len());
    Some((end, rest[..end].to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_row_of_the_table() {
        for (chatwoot, whatsapp) in [
            ("**tebal**", "*tebal*"),
            ("__tebal__", "*tebal*"),
            ("*miring*", "_miring_"),
            ("_miring_", "_miring_"),
            ("***keduanya***", "*_keduanya_*"),
            ("~~coret~~", "~coret~"),
            ("**a *b* c**", "*a _b_ c*"),
            ("**a *b***", "*a _b_*"),
            ("*a **b** c*", "_a *b* c_"),
            ("**dua** dan *satu*", "*dua* dan _satu_"),
            ("# Judul", "*Judul*"),
            ("## **Judul**", "*Judul*"),
            ("#promo", "#promo"),
            ("* satu\n* dua\n+ tiga\n- empat", "- satu\n- dua\n- tiga\n- empat"),
            ("  * dalam", "  - dalam"),
            ("1. satu", "1. satu"),
            ("> kutipan *x*", "> kutipan _x_"),
            (
                "[situs](https://toko.example/a_b)",
                "situs (https://toko.example/a_b)",
            ),
            (
                "[https://toko.example](https://toko.example)",
                "https://toko.example",
            ),
            ("[a@b.example](mailto:a@b.example)", "a@b.example"),
            (
                "![struk](https://toko.example/x.png)",
                "struk (https://toko.example/x.png)",
            ),
            ("<https://toko.example/__x__>", "https://toko.example/__x__"),
            ("https://toko.example/a_b_c*d", "https://toko.example/a_b_c*d"),
            (
                "lihat **https://toko.example/a**",
                "lihat *https://toko.example/a*",
            ),
            ("`**x**` dan ``a ` b``", "`**x**` dan ``a ` b``"),
            (
                "```js\nlet a = **1**;\n```\n**b**",
                "```\nlet a = **1**;\n```\n*b*",
            ),
            ("```**x**``` **y**", "```**x**``` **y**"),
        ] {
            assert_eq!(for_whatsapp(chatwoot), whatsapp, "{chatwoot}");
        }
    }

    #[test]
    fn the_editors_leftovers_are_taken_away() {
        for (chatwoot, whatsapp) in [
            ("Halo\\\nkak\\\r\n\n  ya\n\n", "Halo\nkak\n\n  ya"),
            ("satu<br>dua<br/>tiga<BR />empat", "satu\ndua\ntiga\nempat"),
            (
                "a&nbsp;b &amp;amp; c &lt;d&gt; &quot;e&quot; &#39;f&#39;",
                "a b &amp; c <d> \"e\" 'f'",
            ),
            (
                r"\*bukan tebal\* \_x\_ \# \- \[a\] 1\. \\",
                r"*bukan tebal* _x_ # - [a] 1. \",
            ),
            (r"a\b C:\dir", r"a\b C:\dir"),
            ("nol\0byte", "nolbyte"),
            ("jawab <b> & \u{2028}", "jawab <b> & \u{2028}"),
            ("ujung\\", "ujung\\"),
        ] {
            assert_eq!(for_whatsapp(chatwoot), whatsapp, "{chatwoot}");
        }
    }

    #[test]
    fn what_only_looks_like_a_mark_stays() {
        for text in [
            "2 * 3 * 4",
            "2*3*4",
            "snake_case_name",
            "a__b__c",
            "* ",
            "**",
            "****",
            "~~",
            "** x **",
            "*x",
            "x*",
            "**x*",
            "[a](b)",
            "[a] (https://x.example)",
            "<tidak ada",
            "& saja &x;",
            "`",
            "---",
            "***",
        ] {
            let expected = if text == "* " { "- " } else { text };
            assert_eq!(for_whatsapp(text), expected, "{text}");
        }
    }

    #[test]
    fn a_long_line_of_marks_is_read_at_once() {
        for unit in ["*a ", "**a", "_", "~~ x", "[", "`", "<", "\\", "*a* **b", "![a]("] {
            let text = unit.repeat(150_000 / unit.len());
            assert!(!for_whatsapp(&text).is_empty());
        }
    }

    #[test]
    fn the_name_stands_above_and_breaks_nothing() {
        assert_eq!(signed("Budi Agen", "\n\n", "halo"), "*Budi Agen*\n\nhalo");
        assert_eq!(signed(" *Bu*di\n ", ": ", "halo"), "*Budi*: halo");
        assert_eq!(signed("***", "\n", "halo"), "halo");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_breaks_it_and_plain_words_pass(text in r"[a-z*_~`\\\[\]()<>!#&;.h:/ \n]{0,60}", words in "[a-zé0-9,.? ]{1,40}[a-z]") {
            drop(for_whatsapp(&text));
            prop_assert_eq!(for_whatsapp(&words), words);
        }
    }
}
