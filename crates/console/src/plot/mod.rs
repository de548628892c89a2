//! Plots that the server draws: SVG over plain data, without script and without style attributes.
//!
//! A plot fills the width it is given while its letters keep their size: what is stretched is a drawing inside the drawing,
//! and lines keep their width in it. Colours are classes (`tone-1`, `tone-bad`, …), which the style sheet gives one value
//! for each theme; nothing is told by colour alone, for lines differ by their dashes, states by their height, and each
//! plot has its numbers as a table below. Where there is no number there is a gap.

mod scale;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};

pub use self::scale::{Span, Unit, duration, number};
use self::scale::{exact, heights};
use crate::Language;

/// What a plot says in words.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    /// Unique on the page; ids in the plot begin with it.
    pub id: &'a str,
    /// What is shown.
    pub title: &'a str,
    /// What there is to see, for those who do not see it.
    pub description: &'a str,
}

/// How a series looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// The first of several that mean neither good nor bad.
    One,
    /// The second.
    Two,
    /// The third.
    Three,
    /// The fourth.
    Four,
    /// As it should be.
    Ok,
    /// To be looked at.
    Warn,
    /// Broken.
    Bad,
    /// Not known.
    Idle,
}

/// Numbers by time, one for each bucket of the span. `None`, and what is no number: there is none.
#[derive(Debug, Clone)]
pub struct Series<'a> {
    /// What they are numbers of.
    pub name: &'a str,
    /// How they look.
    pub tone: Tone,
    /// The numbers, the oldest first.
    pub values: Vec<Option<f64>>,
}

/// How something was for a while.
#[derive(Debug, Clone)]
pub struct State<'a> {
    /// Since when.
    pub from: DateTime<Utc>,
    /// Until when.
    pub until: DateTime<Utc>,
    /// How.
    pub name: &'a str,
    /// How good that is.
    pub tone: Tone,
}

/// Where the drawing begins, from above.
const ABOVE: f64 = 10.0;
/// How high it is.
const HIGH: f64 = 150.0;
/// Where times are written, from above.
const TIMES: f64 = 182.0;
/// How high all of it is.
const ALL: f64 = 192.0;
/// How wide the drawing is before it is stretched.
const WIDE: f64 = 1000.0;
/// Room for numbers at the left.
const LEFT: f64 = 52.0;
/// Most buckets that are drawn; what is more is left out at the old end.
const MOST: usize = 400;

impl Tone {
    const fn class(self) -> &'static str {
        match self {
            Self::One => "tone-1",
            Self::Two => "tone-2",
            Self::Three => "tone-3",
            Self::Four => "tone-4",
            Self::Ok => "tone-ok",
            Self::Warn => "tone-warn",
            Self::Bad => "tone-bad",
            Self::Idle => "tone-idle",
        }
    }

    /// Dashes by which a line is told from others without colour.
    const fn dashes(self) -> &'static str {
        match self {
            Self::One | Self::Ok => "none",
            Self::Two | Self::Warn => "7 3",
            Self::Three | Self::Bad => "2 3",
            Self::Four | Self::Idle => "9 3 2 3",
        }
    }

    /// How high a state stands in a strip, the graver the higher.
    const fn height(self) -> f64 {
        match self {
            Self::Bad => 30.0,
            Self::Warn => 22.0,
            Self::Idle => 6.0,
            Self::One | Self::Two | Self::Three | Self::Four | Self::Ok => 14.0,
        }
    }
}

/// Lines over time.
#[must_use]
pub fn lines(l: Language, words: Words<'_>, span: Span, unit: Unit, series: &[Series<'_>]) -> String {
    let (series, span) = clean(series, span);
    let most = series.iter().flat_map(|one| one.values.iter().flatten()).copied();
    let plot = Plot::new(l, words, span, unit, most.fold(0.0, f64::max), buckets(&series));
    let mut drawing = String::new();
    for one in &series {
        let path = path(&plot, &one.values);
        if !path.is_empty() {
            put(
                &mut drawing,
                format_args!(
                    "<path class=\"line {}\" d=\"{path}\" fill=\"none\" stroke-dasharray=\"{}\" \
                     vector-effect=\"non-scaling-stroke\"/>",
                    one.tone.class(),
                    one.tone.dashes()
                ),
            );
        }
    }
    plot.figure(&drawing, &series, "line")
}

/// Bars over time that stand on each other, the first at the ground.
#[must_use]
pub fn bars(l: Language, words: Words<'_>, span: Span, unit: Unit, series: &[Series<'_>]) -> String {
    let (series, span) = clean(series, span);
    let count = buckets(&series);
    let sum = |bucket: usize| -> f64 {
        let values = series
            .iter()
            .filter_map(|one| one.values.get(bucket).copied().flatten());
        values.sum()
    };
    let most = (0..count)
        .map(sum)
        .filter(|sum| sum.is_finite())
        .fold(0.0, f64::max);
    let plot = Plot::new(l, words, span, unit, most, count);
    let mut drawing = String::new();
    for bucket in 0..count {
        let (mut ground, mut group, mut told) = (0.0, String::new(), String::new());
        for one in &series {
            let Some(value) = one
                .values
                .get(bucket)
                .copied()
                .flatten()
                .filter(|value| *value > 0.0)
            else {
                continue;
            };
            let (below, above) = (plot.y(ground), plot.y(ground + value));
            put(
                &mut group,
                format_args!(
                    "<rect class=\"bar {}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
                    one.tone.class(),
                    short(plot.x(bucket) + plot.step() * 0.1),
                    short(above),
                    short(plot.step() * 0.8),
                    short(below - above)
                ),
            );
            put(
                &mut told,
                format_args!(", {} {}", escape(one.name), unit.write(l, value)),
            );
            ground += value;
        }
        if !group.is_empty() {
            let at = span.full(l, plot.begin(bucket));
            put(
                &mut drawing,
                format_args!("<g><title>{at}{told}</title>{group}</g>"),
            );
        }
    }
    plot.figure(&drawing, &series, "bar")
}

/// How something was over time. States may leave gaps, of which nothing is known.
#[must_use]
pub fn strip(l: Language, words: Words<'_>, span: Span, states: &[State<'_>]) -> String {
    const HEIGHT: f64 = 30.0;
    let (mut drawing, mut rows) = (String::new(), String::new());
    let inside = states
        .iter()
        .filter(|state| state.from < state.until && state.until > span.from && state.from < span.until);
    for state in inside.clone() {
        let (left, right) = (span.share(state.from) * WIDE, span.share(state.until) * WIDE);
        let told = format!(
            "{}: {} – {}",
            escape(state.name),
            span.full(l, state.from.max(span.from)),
            span.full(l, state.until.min(span.until))
        );
        put(
            &mut drawing,
            format_args!(
                "<rect class=\"bar {}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{told}</title></rect>",
                state.tone.class(),
                short(left),
                short(HEIGHT - state.tone.height()),
                // What was short is seen all the same.
                short((right - left).max(1.5)),
                short(state.tone.height())
            ),
        );
    }
    for state in inside.rev().take(MOST) {
        put(
            &mut rows,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>",
                span.full(l, state.from.max(span.from)),
                span.full(l, state.until.min(span.until)),
                escape(state.name)
            ),
        );
    }
    let mut image = String::new();
    put(
        &mut image,
        format_args!(
            "<svg class=\"plot-drawing\" y=\"2\" width=\"100%\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDE} {HEIGHT}\" \
             preserveAspectRatio=\"none\">{drawing}</svg>\
             <line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"32.5\" y2=\"32.5\"/>"
        ),
    );
    times(&mut image, l, span, 48.0);
    let is_empty = drawing.is_empty();
    let head = [
        l.t("From", "Dari"),
        l.t("Until", "Sampai"),
        l.t("State", "Keadaan"),
    ]
    .map(str::to_owned);
    wrap(l, words, ("flat", 56.0), ["", &image], "", is_empty, &head, &rows)
}

/// A plot with two axes before anything is drawn into it.
struct Plot<'a> {
    l: Language,
    words: Words<'a>,
    span: Span,
    unit: Unit,
    ticks: Vec<scale::Tick>,
    top: f64,
    buckets: usize,
}

impl<'a> Plot<'a> {
    fn new(l: Language, words: Words<'a>, span: Span, unit: Unit, most: f64, buckets: usize) -> Self {
        let (ticks, top) = heights(l, unit, most);
        Self {
            l,
            words,
            span,
            unit,
            ticks,
            top,
            buckets,
        }
    }

    fn step(&self) -> f64 {
        WIDE / exact(i64::try_from(self.buckets.max(1)).unwrap_or(1))
    }

    fn x(&self, bucket: usize) -> f64 {
        self.step() * exact(i64::try_from(bucket).unwrap_or(0))
    }

    fn y(&self, value: f64) -> f64 {
        HIGH - (value / self.top).clamp(0.0, 1.0) * HIGH
    }

    fn begin(&self, bucket: usize) -> DateTime<Utc> {
        let buckets = i64::try_from(self.buckets.max(1)).unwrap_or(1);
        let bucket = i64::try_from(bucket).unwrap_or(0);
        self.span.from + TimeDelta::seconds(self.span.seconds() * bucket / buckets)
    }

    fn figure(&self, drawing: &str, series: &[Series<'_>], mark: &str) -> String {
        let mut image = String::new();
        for tick in &self.ticks {
            let y = short(ABOVE + HIGH - tick.at * HIGH);
            put(
                &mut image,
                format_args!("<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"{y}\" y2=\"{y}\"/>"),
            );
        }
        put(
            &mut image,
            format_args!(
                "<svg class=\"plot-drawing\" y=\"{ABOVE}\" width=\"100%\" height=\"{HIGH}\" viewBox=\"0 0 {WIDE} {HIGH}\" \
                 preserveAspectRatio=\"none\">{drawing}</svg>"
            ),
        );
        times(&mut image, self.l, self.span, TIMES);
        let mut edge = String::new();
        for tick in &self.ticks {
            put(
                &mut edge,
                format_args!(
                    "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
                    LEFT - 8.0,
                    short(ABOVE + HIGH - tick.at * HIGH + 4.0),
                    tick.label
                ),
            );
        }
        // Beside the drawing, for what is in it is measured in shares of its width.
        let edge = format!(
            "<svg class=\"plot-edge\" width=\"{LEFT}\" height=\"{ALL}\" aria-hidden=\"true\">{edge}</svg>"
        );
        let head: Vec<String> = std::iter::once(self.l.t("Time", "Waktu").to_owned())
            .chain(series.iter().map(|one| escape(one.name)))
            .collect();
        wrap(
            self.l,
            self.words,
            ("tall", ALL),
            [&edge, &image],
            &legend(series, mark),
            drawing.is_empty(),
            &head,
            &self.rows(series),
        )
    }

    /// The newest first; what is empty is left out.
    fn rows(&self, series: &[Series<'_>]) -> String {
        let mut rows = String::new();
        for bucket in (0..self.buckets).rev() {
            let values = series.iter().map(|one| one.values.get(bucket).copied().flatten());
            if values.clone().flatten().next().is_none() {
                continue;
            }
            let time = self.span.full(self.l, self.begin(bucket));
            put(&mut rows, format_args!("<tr><th scope=\"row\">{time}</th>"));
            for value in values {
                let text = value.map_or_else(|| "–".to_owned(), |value| self.unit.write(self.l, value));
                put(&mut rows, format_args!("<td>{text}</td>"));
            }
            rows.push_str("</tr>");
        }
        rows
    }
}

/// From number to number, anew behind each gap. A number between two gaps is a dot.
fn path(plot: &Plot<'_>, values: &[Option<f64>]) -> String {
    let mut path = String::new();
    let mut is_open = false;
    for (bucket, value) in values.iter().enumerate() {
        let Some(value) = value else {
            is_open = false;
            continue;
        };
        let (x, y) = (short(plot.x(bucket) + plot.step() / 2.0), short(plot.y(*value)));
        let is_alone = !is_open && values.get(bucket + 1).copied().flatten().is_none();
        let command = if is_open { 'L' } else { 'M' };
        put(&mut path, format_args!("{command}{x} {y}"));
        if is_alone {
            path.push_str("h.01");
        }
        is_open = true;
    }
    path
}

fn times(image: &mut String, l: Language, span: Span, y: f64) {
    for tick in span.ticks(l) {
        put(
            image,
            format_args!(
                "<text x=\"{}%\" y=\"{y}\" text-anchor=\"{}\">{}</text>",
                short(tick.at * 100.0),
                anchor(tick.at),
                tick.label
            ),
        );
    }
}

/// What is written near an edge ends there.
fn anchor(at: f64) -> &'static str {
    if at < 0.09 {
        "start"
    } else if at > 0.91 {
        "end"
    } else {
        "middle"
    }
}

fn legend(series: &[Series<'_>], mark: &str) -> String {
    let mut legend = String::from("<ul class=\"plot-legend\">");
    for one in series {
        let (class, name) = (one.tone.class(), escape(one.name));
        let sign = if mark == "line" {
            format!(
                "<line class=\"line {class}\" x1=\"0\" x2=\"22\" y1=\"6\" y2=\"6\" stroke-dasharray=\"{}\"/>",
                one.tone.dashes()
            )
        } else {
            format!("<rect class=\"bar {class}\" x=\"5\" width=\"12\" height=\"12\"/>")
        };
        put(
            &mut legend,
            format_args!("<li><svg width=\"22\" height=\"12\" aria-hidden=\"true\">{sign}</svg>{name}</li>"),
        );
    }
    legend.push_str("</ul>");
    legend
}

/// Title, image, legend and table.
#[expect(clippy::too_many_arguments, reason = "the parts of a figure, each once")]
fn wrap(
    l: Language,
    words: Words<'_>,
    (kind, height): (&str, f64),
    [edge, image]: [&str; 2],
    legend: &str,
    is_empty: bool,
    head: &[String],
    rows: &str,
) -> String {
    let (id, title) = (escape(words.id), escape(words.title));
    let mut out = format!("<figure class=\"plot\" id=\"{id}\"><figcaption>{title}</figcaption>");
    if is_empty {
        let nothing = l.t("Nothing in this time.", "Tidak ada data pada waktu ini.");
        put(
            &mut out,
            format_args!("<p class=\"muted\">{nothing}</p></figure>"),
        );
        return out;
    }
    put(
        &mut out,
        format_args!(
            "<div class=\"plot-frame\">{edge}<svg class=\"plot-image {kind}\" role=\"img\" aria-labelledby=\"{id}-title {id}-desc\" width=\"100%\" \
             height=\"{height}\"><title id=\"{id}-title\">{title}</title><desc id=\"{id}-desc\">{}</desc>{image}</svg></div>",
            escape(words.description)
        ),
    );
    out.push_str(legend);
    let summary = l.t("Show as table", "Tampilkan sebagai tabel");
    put(
        &mut out,
        format_args!(
            "<details><summary>{summary}</summary><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{title}\"><table class=\"table\"><caption class=\"muted\">{title}</caption><thead><tr>"
        ),
    );
    for name in head {
        put(&mut out, format_args!("<th scope=\"col\">{name}</th>"));
    }
    put(
        &mut out,
        format_args!("</tr></thead><tbody>{rows}</tbody></table></div></details></figure>"),
    );
    out
}

/// What can be drawn: numbers that are numbers, and as many as there is room for.
fn clean<'a>(series: &[Series<'a>], mut span: Span) -> (Vec<Series<'a>>, Span) {
    // Many of the largest on each other have to stay a number.
    const LARGEST: f64 = 1e18;
    let longest = buckets(series);
    let skipped = longest.saturating_sub(MOST);
    let part = |of: usize| i64::try_from(of.max(1)).unwrap_or(1);
    if skipped > 0 {
        span.from += TimeDelta::seconds(span.seconds() / part(longest) * part(skipped));
    }
    let one = |one: &Series<'a>| Series {
        name: one.name,
        tone: one.tone,
        values: one
            .values
            .iter()
            .skip(skipped)
            .map(|value| {
                value
                    .filter(|value| value.is_finite())
                    .map(|value| value.clamp(0.0, LARGEST))
            })
            .collect(),
    };
    (series.iter().map(one).collect(), span)
}

fn buckets(series: &[Series<'_>]) -> usize {
    series.iter().map(|one| one.values.len()).max().unwrap_or(0)
}

/// A coordinate with no more digits than can be seen.
fn short(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _written = out.write_fmt(what);
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
