//! The fields of spans as JSON.
//!
//! Written as they come and continued where they end: a request's span is made for every request and told about its
//! tenant later, and mostly no line is ever written that shows it.

use std::cell::Cell;
use std::fmt::{self, Debug};

use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormattedFields;
use tracing_subscriber::fmt::format::{FormatFields, Writer};

thread_local! {
    static TEXT: Cell<String> = const { Cell::new(String::new()) };
}

/// Writes a span's fields as one JSON object. A field that is recorded again stands there twice, and readers take the last.
pub(super) struct JsonFields;

impl<'writer> FormatFields<'writer> for JsonFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        // Put together elsewhere: what is kept for the span grows once, and to its size.
        let mut text = TEXT.take();
        text.clear();
        text.push('{');
        let mut pairs = Pairs {
            writer: &mut text,
            is_first: true,
            written: Ok(()),
        };
        fields.record(&mut pairs);
        let written = pairs.written;
        text.push('}');
        let written = written.and_then(|()| writer.write_str(&text));
        TEXT.set(text);
        written
    }

    fn add_fields(&self, current: &'writer mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        let is_first = !current.fields.ends_with('}') || current.fields == "{}";
        if is_first {
            current.fields.clear();
            current.fields.push('{');
        } else {
            current.fields.pop();
        }
        let mut pairs = Pairs {
            writer: &mut current.fields,
            is_first,
            written: Ok(()),
        };
        fields.record(&mut pairs);
        let written = pairs.written;
        current.fields.push('}');
        written
    }
}

struct Pairs<'a, W> {
    writer: &'a mut W,
    is_first: bool,
    written: fmt::Result,
}

impl<W: fmt::Write> Pairs<'_, W> {
    fn pair(&mut self, field: &Field, value: impl FnOnce(&mut W) -> fmt::Result) {
        let separator = if std::mem::take(&mut self.is_first) {
            "\""
        } else {
            ",\""
        };
        let writer = &mut *self.writer;
        // Names are those of our own source: nothing in them needs escaping.
        let name = field.name();
        let write = |part: &str| writer.write_str(part);
        let named = [separator, name.strip_prefix("r#").unwrap_or(name), "\":"];
        let written = named.into_iter().try_for_each(write);
        let written = written.and_then(|()| value(self.writer));
        self.written = self.written.and(written);
    }
}

impl<W: fmt::Write> Visit for Pairs<'_, W> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.pair(field, |writer| write_text(writer, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.pair(field, |writer| write_text(writer, &format!("{value:?}")));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.pair(field, |writer| write!(writer, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.pair(field, |writer| write!(writer, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for what is no number.
        self.pair(field, |writer| match value.is_finite() {
            true => write!(writer, "{value}"),
            false => writer.write_str("null"),
        });
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.pair(field, |writer| write!(writer, "{value}"));
    }
}

fn write_text(writer: &mut impl fmt::Write, text: &str) -> fmt::Result {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    if text.bytes().all(is_plain) {
        writer.write_char('"')?;
        writer.write_str(text)?;
        return writer.write_char('"');
    }
    let escaped = serde_json::to_string(text).map_err(|_| fmt::Error)?;
    writer.write_str(&escaped)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::super::json_lines;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Written {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn line(work: impl FnOnce()) -> serde_json::Value {
        let written = Written::default();
        let lines = json_lines(tracing_subscriber::fmt::layer().with_writer(written.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), work);
        let line = written.0.lock().unwrap().clone();
        serde_json::from_slice(&line).unwrap()
    }

    #[test]
    fn a_line_shows_what_its_span_was_told_early_and_late() {
        let path = "/a \"b\"\\c\u{e9}\n";
        let line = line(|| {
            let span = tracing::info_span!(
                "request",
                path,
                number = 7,
                below = -7,
                yes = true,
                part = 0.5,
                none = f64::NAN,
                shown = %"x=1",
                r#type = ?Some(1),
                tenant = tracing::field::Empty,
                late = tracing::field::Empty,
            );
            let _entered = span.enter();
            span.record("tenant", "desa");
            span.record("tenant", "desa-lain");
            span.record("late", 1_u64);
            tracing::info!("done");
        });
        assert_eq!(
            line["span"],
            serde_json::json!({"name": "request", "path": path, "number": 7, "below": -7, "yes": true, "part": 0.5, "none": null,
                "shown": "x=1",
                "type": "Some(1)", "tenant": "desa-lain", "late": 1})
        );
        assert_eq!(line["message"], "done");
    }

    #[test]
    fn a_span_without_fields_may_get_some() {
        let line = line(|| {
            let span = tracing::info_span!("work", tenant = tracing::field::Empty);
            let _entered = span.enter();
            span.record("tenant", "desa");
            tracing::info!("done");
        });
        assert_eq!(
            line["span"],
            serde_json::json!({"name": "work", "tenant": "desa"})
        );
    }
}
