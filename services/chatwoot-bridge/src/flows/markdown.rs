//! WhatsApp's way to write bold and struck words, in Chatwoot's Markdown. Italics and code are written alike in both.

/// What stands around words, once in WhatsApp and twice in Markdown.
const BOLD: char = '*';
const STRUCK: char = '~';
const CODE: char = '`';

/// Words as Markdown shows them like WhatsApp does. What is no formatting there stays as it is.
#[must_use]
pub(super) fn from_whatsapp(text: &str) -> String {
    if !text.contains([BOLD, STRUCK]) {
        return text.to_owned();
    }
    let chars: Vec<char> = text.chars().collect();
    let mut markdown = String::with_capacity(text.len() + 8);
    write(&chars, &[BOLD, STRUCK], &mut markdown);
    markdown
}

/// Writes `text`, in which these marks mean something. Each can stand inside the other, and none inside itself.
fn write(text: &[char], marks: &[char], markdown: &mut String) {
    let mut at = 0;
    // Of each mark: up to where it is known that nothing closes it, so that a long line is looked through once.
    let mut hopeless = [0; 2];
    while let Some(&mark) = text.get(at) {
        if mark == CODE {
            let end = code_end(text, at);
            markdown.extend(&text[at..end]);
            at = end;
            continue;
        }
        let which = usize::from(mark == STRUCK);
        if marks.contains(&mark) && at >= hopeless[which] && opens(text, at) {
            match closing(text, at) {
                Ok(end) => {
                    let others: Vec<char> = marks.iter().copied().filter(|other| *other != mark).collect();
                    markdown.extend([mark, mark]);
                    write(&text[at + 1..end], &others, markdown);
                    markdown.extend([mark, mark]);
                    at = end + 1;
                    continue;
                }
                Err(line_end) => hopeless[which] = line_end,
            }
        }
        markdown.push(mark);
        at += 1;
    }
}

/// Where the code ends that begins here; right after its first mark when it has no end.
fn code_end(text: &[char], at: usize) -> usize {
    let length = text[at..].iter().take_while(|c| **c == CODE).count();
    // One mark for code within a line, three for whatever many.
    let stops = |c: char| length < 3 && c == '\n';
    let mut run = 0;
    for (ahead, c) in text.iter().enumerate().skip(at + length) {
        if *c == CODE {
            run += 1;
            if run == length {
                return ahead + 1;
            }
        } else {
            run = 0;
        }
        if stops(*c) {
            break;
        }
    }
    at + length
}

/// Does formatting begin with the mark here?
fn opens(text: &[char], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| text.get(before));
    is_outside(before, text[at]) && is_inside(text.get(at + 1), text[at])
}

/// Where the formatting ends that begins here, or else where the line does.
fn closing(text: &[char], at: usize) -> Result<usize, usize> {
    let mark = text[at];
    let mut end = at + 2;
    while let Some(&c) = text.get(end) {
        if c == '\n' {
            break;
        }
        if c == mark && is_inside(text.get(end - 1), mark) && is_outside(text.get(end + 1), mark) {
            return Ok(end);
        }
        end += 1;
    }
    Err(end)
}

fn is_outside(neighbour: Option<&char>, mark: char) -> bool {
    neighbour.is_none_or(|c| !c.is_alphanumeric() && *c != mark)
}

fn is_inside(neighbour: Option<&char>, mark: char) -> bool {
    neighbour.is_some_and(|c| !c.is_whitespace() && *c != mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bold_and_struck_in_whatsapp_is_so_in_chatwoot() {
        for (whatsapp, markdown) in [
            ("*tebal*", "**tebal**"),
            ("ini *sangat penting*, kak", "ini **sangat penting**, kak"),
            ("~batal~ jadi", "~~batal~~ jadi"),
            ("_miring_", "_miring_"),
            ("*_keduanya_*", "**_keduanya_**"),
            ("*~tebal~ ya*", "**~~tebal~~ ya**"),
            ("(*a*) \"*b*\"", "(**a**) \"**b**\""),
            ("*satu* dan *dua*", "**satu** dan **dua**"),
            ("*baris\ndua*", "*baris\ndua*"),
            ("`*kode*` *tebal*", "`*kode*` **tebal**"),
            ("```\n*kode*\n```\n*tebal*", "```\n*kode*\n```\n**tebal**"),
            ("`tanpa akhir *tebal*", "`tanpa akhir **tebal**"),
        ] {
            assert_eq!(from_whatsapp(whatsapp), markdown);
        }
    }

    #[test]
    fn what_is_no_formatting_stays() {
        for text in [
            "2*3*4=24",
            "* satu\n* dua",
            "*",
            "**",
            "**sudah**",
            "* a*",
            "*a *",
            "harga 5*",
            "nama_file_baru",
            "~",
            "",
            "🎉*",
        ] {
            assert_eq!(from_whatsapp(text), text);
        }
    }

    #[test]
    fn a_long_line_is_looked_through_once() {
        let text = " *a".repeat(200_000);
        assert_eq!(from_whatsapp(&text), text);
        let nested = "*~".repeat(100_000);
        assert!(from_whatsapp(&nested).len() > nested.len());
    }
}
