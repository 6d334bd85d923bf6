//! Where everything is in a picture: a panel a question, a row a runtime, its samples as dots above
//! each other.

use super::axis::{Axis, tick_text};
use super::{Anchor, Paint, Scene, Shape};
use crate::report::table::{Tone, against_baseline, instead};
use crate::report::words::{clean, quantity, question};
use crate::results::{Metric, Results, Runtime, Series};
use coshell_statistics::quantile;

const WIDTH: f32 = 960.0;
const MARGIN: f32 = 24.0;
const TEXT: f32 = 13.0;
const SMALL: f32 = 11.0;
const TITLE: f32 = 17.0;
/// How wide a letter is, in its size.
const LETTER: f32 = 0.603;
/// Letters of a name that there is room for.
const LONGEST_NAME: usize = 30;
/// Between the middles of two rows.
const ROW: f32 = 46.0;
/// More samples than this are drawn as so many of their quantiles.
const MOST_DOTS: usize = 160;
const RADIUS: f32 = 2.4;
/// How far dots go from the middle of their row.
const SPREAD: f32 = 17.0;

/// One half of a comparison, as a picture.
pub(crate) fn chart(results: &Results, is_cold: bool) -> Scene {
    let half = if is_cold {
        "cold starts"
    } else {
        "warm invocations"
    };
    let mut pen = Pen::default();
    let title = format!("{}: {half}", clean(&results.title));
    pen.y = MARGIN + TITLE;
    pen.text(MARGIN, TITLE, Anchor::Start, Paint::Ink, &cut(&title, 88));
    pen.y += 12.0;
    let questions = results.questions().into_iter();
    let questions: Vec<_> = questions
        .filter(|(metric, _)| is_drawn(*metric) && metric.is_cold() == is_cold)
        .collect();
    for &(metric, event_bytes) in &questions {
        // All sizes of one metric are on the same axis.
        let all = questions.iter().filter(|(one, _)| *one == metric);
        let all = all.flat_map(|(_, size)| every(results, metric, *size));
        panel(&mut pen, results, (metric, event_bytes), Axis::of(all));
    }
    if questions.is_empty() {
        pen.y += 30.0;
        pen.text(MARGIN, TEXT, Anchor::Start, Paint::Ink, "no samples");
        for runtime in &results.runtimes {
            let told = instead(results, runtime, Metric::Init, None);
            pen.y += 22.0;
            let text = format!("{}: {}", clean(&runtime.name), told.text);
            pen.text(MARGIN, TEXT, Anchor::Start, Paint::Bad, &cut(&text, 110));
        }
    }
    pen.y += 34.0;
    let legend = format!(
        "A dot is a sample; of more than {MOST_DOTS}, one of so many quantiles. Line: median, its figure at the right. Band: its 95 % interval."
    );
    pen.text(MARGIN, SMALL, Anchor::Start, Paint::Faint, &legend);
    let height = pen.y + MARGIN;
    let paper = Shape::Rectangle {
        x: 0.0,
        y: 0.0,
        width: WIDTH,
        height,
        paint: Paint::Paper,
    };
    pen.shapes.insert(0, paper);
    Scene {
        width: WIDTH,
        height,
        title,
        shapes: pen.shapes,
    }
}

/// Those with a sample an invocation.
fn is_drawn(metric: Metric) -> bool {
    metric.is_cold() || matches!(metric, Metric::Latency | Metric::Duration)
}

fn every(
    results: &Results,
    metric: Metric,
    event_bytes: Option<usize>,
) -> impl Iterator<Item = f64> + Clone {
    let is_asked =
        move |series: &&Series| (series.metric, series.event_bytes) == (metric, event_bytes);
    let asked = results.series.iter().filter(is_asked);
    asked.flat_map(|series| series.rounds.iter().flatten().copied())
}

/// What is drawn so far, and how far down that goes.
#[derive(Default)]
struct Pen {
    y: f32,
    shapes: Vec<Shape>,
}

impl Pen {
    fn text(&mut self, x: f32, size: f32, anchor: Anchor, paint: Paint, text: &str) {
        let (y, text) = (self.y, text.to_owned());
        self.shapes.push(Shape::Text {
            x,
            y,
            size,
            anchor,
            paint,
            text,
        });
    }

    fn rectangle(&mut self, x: f32, y: f32, width: f32, height: f32, paint: Paint) {
        self.shapes.push(Shape::Rectangle {
            x,
            y,
            width,
            height,
            paint,
        });
    }
}

/// What fits, and a sign that there is more.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[allow(clippy::cast_precision_loss)]
fn panel(pen: &mut Pen, results: &Results, asked: (Metric, Option<usize>), axis: Option<Axis>) {
    let (metric, event_bytes) = asked;
    pen.y += 34.0;
    pen.text(
        MARGIN,
        TEXT + 1.0,
        Anchor::Start,
        Paint::Ink,
        &question(metric, event_bytes),
    );
    let names: Vec<_> = results
        .runtimes
        .iter()
        .map(|one| cut(&clean(&one.name), LONGEST_NAME))
        .collect();
    let longest = names
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0);
    let left = MARGIN + 20.0 + LETTER * TEXT * longest as f32 + 18.0;
    let right = WIDTH - MARGIN - 126.0;
    let top = pen.y + 14.0;
    let bottom = top + ROW * results.runtimes.len() as f32;
    if let Some(axis) = &axis {
        pen.y = bottom + 18.0;
        for tick in axis.ticks() {
            let x = left + axis.place(tick) * (right - left);
            pen.rectangle(x - 0.5, top, 1.0, bottom - top + 4.0, Paint::Grid);
            pen.text(x, SMALL, Anchor::Middle, Paint::Faint, &tick_text(tick));
        }
        let unit = metric.unit();
        let unit = if axis.is_logarithmic {
            format!("{unit}, logarithmic")
        } else {
            unit.to_owned()
        };
        pen.text(right + 18.0, SMALL, Anchor::Start, Paint::Faint, &unit);
    }
    for (number, (runtime, name)) in results.runtimes.iter().zip(&names).enumerate() {
        let middle = top + ROW * (number as f32 + 0.5);
        let paint = Paint::Runtime(number);
        pen.y = middle + TEXT * 0.35;
        let (x, y, radius) = (MARGIN + 6.0, middle, 5.0);
        pen.shapes.push(Shape::Dot {
            x,
            y,
            radius,
            paint,
        });
        pen.text(MARGIN + 20.0, TEXT, Anchor::Start, Paint::Ink, name);
        let series = results.series(&runtime.name, metric, event_bytes);
        match (series.filter(|series| series.summary.count > 0), &axis) {
            (Some(series), Some(axis)) => {
                row(pen, results, series, axis, (left, right, middle), paint);
            }
            _ => missing(pen, results, runtime, asked, left),
        }
    }
    pen.y = bottom + 18.0;
}

#[allow(clippy::cast_precision_loss)]
fn missing(
    pen: &mut Pen,
    results: &Results,
    runtime: &Runtime,
    asked: (Metric, Option<usize>),
    left: f32,
) {
    let told = instead(results, runtime, asked.0, asked.1);
    let paint = if told.tone == Tone::Bad {
        Paint::Bad
    } else {
        Paint::Faint
    };
    let text = cut(&told.text, 70);
    let width = LETTER * TEXT * text.chars().count() as f32;
    let (x, top) = (left + 4.0, pen.y - TEXT);
    // No line of the grid through it.
    pen.rectangle(x - 4.0, top, width + 8.0, TEXT + 4.0, Paint::Paper);
    pen.text(x, TEXT, Anchor::Start, paint, &text);
}

#[allow(clippy::cast_precision_loss)]
fn row(
    pen: &mut Pen,
    results: &Results,
    series: &Series,
    axis: &Axis,
    place: (f32, f32, f32),
    paint: Paint,
) {
    let (left, right, middle) = place;
    let x = |sample: f64| left + axis.place(sample) * (right - left);
    let found = &series.summary;
    let (top, height) = (middle - SPREAD - 3.0, 2.0 * SPREAD + 6.0);
    if let (Some(low), Some(high)) = (found.p50_low, found.p50_high) {
        let (low, high) = (x(low), x(high));
        pen.rectangle(low, top, (high - low).max(1.0), height, Paint::Interval);
    }
    // Dots that would be at the same place are above each other, around the middle.
    let mut columns: Vec<(f32, usize)> = Vec::new();
    for sample in dots(series) {
        let x = x(sample);
        match columns.last_mut() {
            Some((first, count)) if x - *first < 2.0 * RADIUS => *count += 1,
            _ => columns.push((x, 1)),
        }
    }
    let highest = columns.iter().map(|(_, count)| *count).max().unwrap_or(1);
    let apart = (2.0 * SPREAD / highest as f32).min(2.0 * RADIUS);
    for (x, count) in columns {
        for number in 0..count {
            let y = middle + apart * (number as f32 - (count - 1) as f32 / 2.0);
            pen.shapes.push(Shape::Dot {
                x,
                y,
                radius: RADIUS,
                paint,
            });
        }
    }
    pen.rectangle(x(found.p50) - 1.0, top, 2.0, height, Paint::Ink);
    pen.y = middle - 1.0;
    pen.text(
        right + 18.0,
        TEXT,
        Anchor::Start,
        Paint::Ink,
        &quantity(found.p50, series.metric),
    );
    let verdict = if series.runtime == results.baseline {
        "baseline".to_owned()
    } else {
        against_baseline(results, series, false).text
    };
    pen.y = middle + 14.0;
    let x = right + 18.0;
    pen.text(x, SMALL, Anchor::Start, Paint::Faint, &verdict);
}

/// The samples in their order or, of many, quantiles; the least and the largest are among them.
#[allow(clippy::cast_precision_loss)]
fn dots(series: &Series) -> Vec<f64> {
    let samples = series.rounds.iter().flatten().copied();
    let mut samples: Vec<_> = samples.filter(|sample| sample.is_finite()).collect();
    samples.sort_by(f64::total_cmp);
    if samples.len() <= MOST_DOTS {
        return samples;
    }
    let share = |number| number as f64 / (MOST_DOTS - 1) as f64;
    (0..MOST_DOTS)
        .filter_map(|number| quantile(&samples, share(number)))
        .collect()
}
