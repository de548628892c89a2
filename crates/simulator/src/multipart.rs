//! `multipart/form-data`, as much of it as our services use.

use serde_json::{Map, Value};

/// An attached file.
#[derive(Debug)]
pub(crate) struct File {
    /// The field it came in.
    pub(crate) field: String,
    pub(crate) name: String,
    pub(crate) content_type: String,
    pub(crate) bytes: usize,
    pub(crate) content: Vec<u8>,
}

impl File {
    /// `file_type` of the attachment.
    pub(crate) fn kind(&self) -> &'static str {
        match self.content_type.split('/').next() {
            Some("image") => "image",
            Some("audio") => "audio",
            Some("video") => "video",
            _ => "file",
        }
    }
}

/// The text fields and the files; `None` if the body is not what its header says.
pub(crate) fn parse(content_type: &str, body: &[u8]) -> Option<(Map<String, Value>, Vec<File>)> {
    let boundary = parameter(content_type, "boundary")?;
    let delimiter = format!("--{boundary}");
    let mut fields = Map::new();
    let mut files = Vec::new();
    let mut rest = &body[find(body, delimiter.as_bytes())? + delimiter.len()..];
    while !rest.starts_with(b"--") {
        rest = rest.strip_prefix(b"\r\n")?;
        let end = find(rest, format!("\r\n{delimiter}").as_bytes())?;
        let part = &rest[..end];
        let head_end = find(part, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&part[..head_end]).into_owned();
        let data = &part[head_end + 4..];
        let disposition = header(&head, "content-disposition")?;
        let name = parameter(disposition, "name")?;
        match extended(disposition, "filename*").or_else(|| parameter(disposition, "filename")) {
            Some(file_name) => files.push(File {
                field: name,
                name: file_name,
                content_type: header(&head, "content-type").unwrap_or_default().to_owned(),
                bytes: data.len(),
                content: data.to_vec(),
            }),
            None => {
                let text = String::from_utf8_lossy(data).into_owned();
                put(&mut fields, &name, text);
            }
        }
        rest = &rest[end + 2 + delimiter.len()..];
    }
    Some((fields, files))
}

/// Rails spells nested members as `outer[inner]`.
fn put(fields: &mut Map<String, Value>, name: &str, text: String) {
    let nested = name
        .strip_suffix(']')
        .and_then(|name| name.split_once('['))
        .filter(|(_, inner)| !inner.is_empty());
    let Some((outer, inner)) = nested else {
        fields.insert(name.to_owned(), Value::String(text));
        return;
    };
    let entry = fields
        .entry(outer.to_owned())
        .or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(members) = entry {
        members.insert(inner.to_owned(), Value::String(text));
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

/// A parameter; a quoted one may have semicolons and escaped quotes in it.
fn parameter(header: &str, name: &str) -> Option<String> {
    let mut rest = header;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.rsplit(';').next().unwrap_or_default().trim();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let (value, left) = after.split_once(';').unwrap_or((after, ""));
                (value.trim().to_owned(), left)
            }
        };
        if key.eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = left;
    }
    None
}

/// The text up to the closing quote, and what follows that.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(char),
        }
    }
    (value, "")
}

/// A parameter as RFC 5987 spells those beyond ASCII: `utf-8''na%C3%AFf.txt`.
fn extended(header: &str, name: &str) -> Option<String> {
    let value = parameter(header, name)?;
    let encoded = value.splitn(3, '\'').nth(2)?;
    let encoded = encoded
        .replace('+', "%2B")
        .replace('&', "%26")
        .replace('=', "%3D");
    form_urlencoded::parse(encoded.as_bytes())
        .next()
        .map(|(name, _)| name.into_owned())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_fields_nested_fields_and_files() {
        let body = b"--xx\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\nHalo\r\n--xx\r\n\
            Content-Disposition: form-data; name=\"content_attributes[in_reply_to]\"\r\n\r\n7\r\n--xx\r\n\
            Content-Disposition: form-data; name=\"attachments[]\"; filename=\"a.jpg\"\r\n\
            Content-Type: image/jpeg\r\n\r\n\x01\x02\r\n\x03\r\n--xx--\r\n";
        let (fields, files) = parse("multipart/form-data; boundary=xx", body).unwrap();
        assert_eq!(fields["content"], "Halo");
        assert_eq!(fields["content_attributes"]["in_reply_to"], "7");
        assert_eq!(
            (files[0].name.as_str(), files[0].kind(), files[0].bytes),
            ("a.jpg", "image", 5)
        );
        assert!(parse("multipart/form-data; boundary=yy", body).is_none());
    }

    #[test]
    fn file_names_are_read_as_they_are() {
        let named = |disposition: &str| {
            let body =
                format!("--xx\r\nContent-Disposition: form-data; {disposition}\r\n\r\nx\r\n--xx--\r\n");
            let (_, files) = parse("multipart/form-data; boundary=xx", body.as_bytes()).unwrap();
            files[0].name.clone()
        };
        assert_eq!(
            named("name=\"a\"; filename=\"surat; \\\"asli\\\".pdf\""),
            "surat; \"asli\".pdf"
        );
        assert_eq!(
            named("name=\"a\"; filename=\"x\"; filename*=utf-8''kop%C3%AD%20%2B1.pdf"),
            "kop\u{ed} +1.pdf"
        );
    }
}
