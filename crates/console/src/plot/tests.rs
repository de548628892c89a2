//! What a plot looks like, and what it does with numbers that are none.

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn hour() -> Span {
    Span::in_jakarta(at("2026-11-28T05:00:00Z"), at("2026-11-28T06:00:00Z"))
}

const WORDS: Words<'_> = Words {
    id: "traffic",
    title: "Messages",
    description: "How many messages went out.",
};

fn series(name: &str, tone: Tone, values: Vec<Option<f64>>) -> Series<'_> {
    Series { name, tone, values }
}

fn line(values: Vec<Option<f64>>) -> String {
    lines(
        Language::En,
        WORDS,
        hour(),
        Unit::Count,
        &[series("sent", Tone::One, values)],
    )
}

/// What stands between these two, the first time.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let behind = text.split_once(begin).unwrap().1;
    behind.split_once(end).unwrap().0
}

/// Every coordinate is a number, every tag is closed, and nothing is styled or run in place.
fn sound(plot: &str) {
    for bad in ["NaN", "inf", "style=", "<script", "onload", "-0\""] {
        assert!(!plot.contains(bad), "{bad}: {plot}");
    }
    let mut open: Vec<&str> = Vec::new();
    for tag in plot.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap();
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{plot}");
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap());
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_small_plot_of_lines() {
    let plot = line(vec![Some(0.0), Some(2.0), None, Some(4.0)]);
    sound(&plot);
    assert_eq!(
        between(&plot, " d=\"", "\""),
        "M125 150L375 75M875 0h.01",
        "from number to number, a gap, and a dot for a number alone"
    );
    assert!(plot.starts_with("<figure class=\"plot\" id=\"traffic\"><figcaption>Messages</figcaption><div class=\"plot-frame\"><svg"));
    assert!(plot.contains("role=\"img\" aria-labelledby=\"traffic-title traffic-desc\""));
    assert!(plot.contains("<title id=\"traffic-title\">Messages</title>"));
    assert!(plot.contains("<desc id=\"traffic-desc\">How many messages went out.</desc>"));
    assert!(
        plot.contains(">12:15</text>"),
        "times by the reader's clock: {plot}"
    );
    assert_eq!(
        between(&plot, "<tbody>", "</tbody>"),
        "<tr><th scope=\"row\">28 Nov 12:45</th><td>4</td></tr>\
         <tr><th scope=\"row\">28 Nov 12:15</th><td>2</td></tr>\
         <tr><th scope=\"row\">28 Nov 12:00</th><td>0</td></tr>"
    );
}

#[test]
fn bars_stand_on_each_other() {
    let plot = bars(
        Language::Id,
        WORDS,
        hour(),
        Unit::Count,
        &[
            series("terkirim", Tone::Ok, vec![Some(3.0), None]),
            series("gagal", Tone::Bad, vec![Some(1.0), None]),
        ],
    );
    sound(&plot);
    let group = between(&plot, "<g>", "</g>");
    assert_eq!(
        group,
        "<title>28 Nov 12:00, terkirim 3, gagal 1</title>\
         <rect class=\"bar tone-ok\" x=\"50\" y=\"37.5\" width=\"400\" height=\"112.5\"/>\
         <rect class=\"bar tone-bad\" x=\"50\" y=\"0\" width=\"400\" height=\"37.5\"/>"
    );
    assert_eq!(
        plot.matches("<g>").count(),
        1,
        "nothing is drawn where there is nothing"
    );
    assert!(plot.contains("<summary>Tampilkan sebagai tabel</summary>"));
}

#[test]
fn a_strip_shows_states_by_colour_and_by_height() {
    let plot = strip(
        Language::En,
        WORDS,
        hour(),
        &[
            State {
                from: at("2026-11-28T04:00:00Z"),
                until: at("2026-11-28T05:30:00Z"),
                name: "healthy",
                tone: Tone::Ok,
            },
            State {
                from: at("2026-11-28T05:30:00Z"),
                until: at("2026-11-28T05:45:00Z"),
                name: "unhealthy",
                tone: Tone::Bad,
            },
        ],
    );
    sound(&plot);
    assert!(plot.contains(
        "<rect class=\"bar tone-ok\" x=\"0\" y=\"16\" width=\"500\" height=\"14\">\
         <title>healthy: 28 Nov 12:00 – 28 Nov 12:30</title></rect>"
    ));
    assert!(plot.contains("<rect class=\"bar tone-bad\" x=\"500\" y=\"0\" width=\"250\" height=\"30\">"));
    assert!(plot.contains("<td>28 Nov 12:45</td><td>unhealthy</td>"));
}

#[test]
fn nothing_is_said_in_words() {
    for values in [vec![], vec![None; 5], vec![Some(f64::NAN), Some(f64::INFINITY)]] {
        let plot = line(values);
        sound(&plot);
        assert!(plot.contains("Nothing in this time."));
        assert!(!plot.contains("<svg"));
    }
    let empty = strip(Language::Id, WORDS, hour(), &[]);
    assert!(empty.contains("Tidak ada data pada waktu ini."));
    let none = bars(Language::En, WORDS, hour(), Unit::Count, &[]);
    assert!(none.contains("Nothing in this time."));
}

#[test]
fn odd_numbers_do_no_harm() {
    let odd = [
        vec![Some(0.0)],
        vec![Some(0.0); 60],
        vec![Some(-5.0), Some(f64::NAN), Some(f64::NEG_INFINITY), Some(1.0)],
        vec![Some(f64::MAX), Some(f64::MIN_POSITIVE), Some(1e18)],
        vec![Some(1.0); 5_000],
    ];
    for values in odd {
        for unit in [Unit::Count, Unit::Milliseconds] {
            let series = [
                series("a", Tone::One, values.clone()),
                series("b", Tone::Warn, values.iter().copied().rev().collect()),
            ];
            let (line, bar) = (
                lines(Language::En, WORDS, hour(), unit, &series),
                bars(Language::Id, WORDS, hour(), unit, &series),
            );
            sound(&line);
            sound(&bar);
            assert!(
                line.len() < 100_000 && bar.len() < 250_000,
                "{} {}",
                line.len(),
                bar.len()
            );
            for height in line.split(" y=\"").skip(1) {
                let y: f64 = height.split('"').next().unwrap().parse().unwrap();
                assert!((0.0..=ALL).contains(&y), "{y}");
            }
        }
    }
}

#[test]
fn a_span_without_length_is_drawn_too() {
    let mut span = hour();
    span.until = span.from;
    sound(&lines(
        Language::En,
        WORDS,
        span,
        Unit::Count,
        &[series("sent", Tone::One, vec![Some(1.0)])],
    ));
    span.until = span.from - TimeDelta::days(3);
    sound(&strip(Language::En, WORDS, span, &[]));
}

#[test]
fn nobody_writes_markup_into_a_plot() {
    let words = Words {
        id: "x",
        title: "<script>alert('1')</script>",
        description: "\"><b>",
    };
    let evil = [series("<img src=x>", Tone::Two, vec![Some(1.0), Some(2.0)])];
    for plot in [
        lines(Language::En, words, hour(), Unit::Count, &evil),
        bars(Language::En, words, hour(), Unit::Count, &evil),
    ] {
        sound(&plot);
        assert!(!plot.contains("<img"));
        assert!(!plot.contains("<b>"));
        assert!(plot.contains("&lt;img src=x&gt;"));
    }
}
