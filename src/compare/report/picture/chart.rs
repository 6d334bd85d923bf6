//! Draws one half of a comparison: a panel for each measure, in it a row for each runtime with its samples as dots.

use coshell_statistics::quantile;

use super::axis::{Axis, tick_text};
use super::layout::{DISC, Layout, MARGIN, SMALL, SPREAD, Screen, TEXT, cut, width_of};
use super::paint::Paint;
use super::{Anchor, Scene, Shape};
use crate::report::metrics::{Measure, direction};
use crate::report::table::Tone;
use crate::report::verdicts::{against_baseline, instead};
use crate::report::words::{clean, measure, quantity};
use crate::results::{Metric, Results, Runtime, Series};

const TITLE: f32 = 17.0;
const LINE: f32 = 16.0;
/// If there are more samples, this number of quantiles is drawn.
const MOST_DOTS: usize = 160;
const RADIUS: f32 = 2.4;

/// One half of a comparison, as a picture.
pub(crate) fn chart(results: &Results, is_cold: bool, screen: Screen) -> Scene {
    let half = if is_cold {
        "cold starts"
    } else {
        "warm invocations"
    };
    let name_length = Layout::longest_name(screen);
    let names = results.runtimes.iter();
    let names: Vec<_> = names
        .map(|one| cut(&clean(&one.name), name_length))
        .collect();
    let lengths = names.iter().map(|name| name.chars().count());
    let layout = Layout::new(screen, lengths.max().unwrap_or(0));
    let mut pen = Pen::default();
    let title = format!("{}: {half}", clean(&results.title));
    pen.y = MARGIN;
    for line in layout.wrap(&title, TITLE) {
        pen.y += TITLE * 1.2;
        let line = cut(&line, layout.letters(TITLE));
        pen.text(MARGIN, TITLE, Anchor::Start, Paint::Ink, &line);
    }
    pen.y += 8.0;
    for line in layout.wrap(&legend(), SMALL) {
        pen.y += LINE;
        pen.text(MARGIN, SMALL, Anchor::Start, Paint::Faint, &line);
    }
    let measures = results.measures().into_iter();
    let measures: Vec<_> = measures
        .filter(|(metric, _)| is_drawn(*metric) && metric.is_cold() == is_cold)
        .collect();
    for &(metric, event_bytes) in &measures {
        // All event sizes of one metric are on the same axis.
        let all = measures.iter().filter(|(one, _)| *one == metric);
        let all = all.flat_map(|(_, size)| every_sample(results, metric, *size));
        let panel = Panel {
            results,
            layout,
            measure: (metric, event_bytes),
            axis: Axis::of(all),
        };
        panel.draw(&mut pen, &names);
    }
    if measures.is_empty() {
        pen.y += 30.0;
        pen.text(MARGIN, TEXT, Anchor::Start, Paint::Ink, "no samples");
        for runtime in &results.runtimes {
            let cell = instead(results, runtime, Metric::Init, None);
            pen.y += 22.0;
            let text = format!("{}: {}", clean(&runtime.name), cell.text);
            let text = cut(&text, layout.letters(TEXT));
            pen.text(MARGIN, TEXT, Anchor::Start, Paint::Bad, &text);
        }
    }
    let height = pen.y + MARGIN;
    let paper = Shape::Rectangle {
        x: 0.0,
        y: 0.0,
        width: layout.width,
        height,
        paint: Paint::Paper,
    };
    pen.shapes.insert(0, paper);
    Scene {
        width: layout.width,
        height,
        title,
        shapes: pen.shapes,
    }
}

fn legend() -> String {
    format!(
        "A dot is one measurement (of more than {MOST_DOTS}, one of {MOST_DOTS} quantiles). Line: the median. Band: its 95 % interval."
    )
}

/// Whether a metric has a sample for each invocation, and none that a caller never waits for.
fn is_drawn(metric: Metric) -> bool {
    metric.is_cold() || matches!(metric, Metric::Latency | Metric::Duration)
}

fn every_sample(
    results: &Results,
    metric: Metric,
    event_bytes: Option<usize>,
) -> impl Iterator<Item = f64> + Clone {
    let is_of_measure =
        move |series: &&Series| (series.metric, series.event_bytes) == (metric, event_bytes);
    let series = results.series.iter().filter(is_of_measure);
    series.flat_map(|series| series.rounds.iter().flatten().copied())
}

/// The shapes so far, and how far down they reach.
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

    fn dot(&mut self, x: f32, y: f32, radius: f32, paint: Paint) {
        self.shapes.push(Shape::Dot {
            x,
            y,
            radius,
            paint,
        });
    }
}

/// One measure of all runtimes.
struct Panel<'a> {
    results: &'a Results,
    layout: Layout,
    measure: Measure,
    axis: Option<Axis>,
}

impl Panel<'_> {
    #[allow(clippy::cast_precision_loss)]
    fn draw(&self, pen: &mut Pen, names: &[String]) {
        let (metric, event_bytes) = self.measure;
        let Layout { left, right, .. } = self.layout;
        pen.y += 34.0;
        let title = measure(metric, event_bytes);
        pen.text(MARGIN, TEXT + 1.0, Anchor::Start, Paint::Ink, &title);
        self.draw_unit(pen, &title);
        let top = pen.y + 14.0;
        let bottom = top + self.layout.row_height() * self.results.runtimes.len() as f32;
        if let Some(axis) = &self.axis {
            pen.y = bottom + 18.0;
            for tick in axis.ticks() {
                let x = left + axis.place(tick) * (right - left);
                pen.rectangle(x - 0.5, top, 1.0, bottom - top + 4.0, Paint::Grid);
                pen.text(x, SMALL, Anchor::Middle, Paint::Faint, &tick_text(tick));
            }
        }
        for (index, (runtime, name)) in self.results.runtimes.iter().zip(names).enumerate() {
            let row_top = top + self.layout.row_height() * index as f32;
            let (middle, paint) = (self.layout.name_middle(row_top), Paint::Runtime(index));
            pen.dot(MARGIN + 6.0, middle, 5.0, paint);
            pen.y = middle + TEXT * 0.35;
            if self.layout.screen == Screen::Phone {
                // No line of the grid goes through the name.
                let width = self.layout.width - 2.0 * MARGIN - DISC;
                pen.rectangle(MARGIN + DISC, row_top, width, 24.0, Paint::Paper);
            }
            pen.text(MARGIN + DISC, TEXT, Anchor::Start, Paint::Ink, name);
            let series = self.results.series(&runtime.name, metric, event_bytes);
            match (series.filter(|series| series.summary.count > 0), &self.axis) {
                (Some(series), Some(axis)) => self.draw_samples(pen, series, axis, row_top, paint),
                _ => self.draw_reason(pen, runtime, row_top),
            }
        }
        pen.y = bottom + 18.0;
    }

    /// The unit of the axis, and in which direction it gets better.
    fn draw_unit(&self, pen: &mut Pen, title: &str) {
        let metric = self.measure.0;
        let is_logarithmic = self.axis.as_ref().is_some_and(|axis| axis.is_logarithmic);
        let scale = if is_logarithmic { " (logarithmic)" } else { "" };
        let text = format!("{}{scale}, {}", metric.unit(), direction(metric));
        match self.layout.screen {
            Screen::Wide => {
                let x = MARGIN + width_of(title.chars().count() + 2, TEXT + 1.0);
                pen.text(x, SMALL, Anchor::Start, Paint::Faint, &text);
            }
            Screen::Phone => {
                pen.y += LINE;
                pen.text(MARGIN, SMALL, Anchor::Start, Paint::Faint, &text);
            }
        }
    }

    /// Why a runtime has no samples, where its dots would be.
    fn draw_reason(&self, pen: &mut Pen, runtime: &Runtime, row_top: f32) {
        let (metric, event_bytes) = self.measure;
        let cell = instead(self.results, runtime, metric, event_bytes);
        let paint = if cell.tone == Tone::Bad {
            Paint::Bad
        } else {
            Paint::Faint
        };
        let text = cut(&cell.text, self.layout.letters(TEXT).min(70));
        let width = width_of(text.chars().count(), TEXT);
        let left = self.layout.left;
        pen.y = self.layout.dots_middle(row_top) + TEXT * 0.35;
        // No line of the grid goes through it.
        let top = pen.y - TEXT;
        pen.rectangle(left, top, width + 8.0, TEXT + 4.0, Paint::Paper);
        pen.text(left + 4.0, TEXT, Anchor::Start, paint, &text);
    }

    #[allow(clippy::cast_precision_loss)]
    fn draw_samples(
        &self,
        pen: &mut Pen,
        series: &Series,
        axis: &Axis,
        row_top: f32,
        paint: Paint,
    ) {
        let Layout { left, right, .. } = self.layout;
        let middle = self.layout.dots_middle(row_top);
        let x = |sample: f64| left + axis.place(sample) * (right - left);
        let found = &series.summary;
        let (top, height) = (middle - SPREAD - 3.0, 2.0 * SPREAD + 6.0);
        if let (Some(low), Some(high)) = (found.p50_low, found.p50_high) {
            let (low, high) = (x(low), x(high));
            pen.rectangle(low, top, (high - low).max(1.0), height, Paint::Interval);
        }
        // Dots that would lie in the same place are stacked around the middle.
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
                pen.dot(x, y, RADIUS, paint);
            }
        }
        pen.rectangle(x(found.p50) - 1.0, top, 2.0, height, Paint::Ink);
        let p50 = quantity(found.p50, series.metric);
        let verdict = if series.runtime == self.results.baseline {
            "baseline".to_owned()
        } else {
            against_baseline(self.results, series, false).text
        };
        match self.layout.screen {
            Screen::Wide => {
                let x = right + 18.0;
                pen.y = middle - 1.0;
                pen.text(x, TEXT, Anchor::Start, Paint::Ink, &p50);
                pen.y = middle + 14.0;
                pen.text(x, SMALL, Anchor::Start, Paint::Faint, &verdict);
            }
            Screen::Phone => {
                pen.y = self.layout.name_middle(row_top) + TEXT * 0.35;
                let before = right - width_of(verdict.chars().count() + 1, SMALL);
                pen.text(before, TEXT, Anchor::End, Paint::Ink, &p50);
                pen.text(right, SMALL, Anchor::End, Paint::Faint, &verdict);
            }
        }
    }
}

/// All samples in order or, if they are many, quantiles. The smallest and the largest are among them.
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
