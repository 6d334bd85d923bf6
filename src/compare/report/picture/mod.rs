//! The pictures: the samples of each runtime, and where their median is.
//!
//! ```text
//! Results -> chart: a panel for each measure, a row for each runtime -> Scene (rectangles, dots, texts) -> svg
//! ```
//!
//! Their figures are those of the tables. All letters of the font have one width, so that what is laid out here fits wherever it
//! is drawn.

pub(crate) mod axis;
pub(crate) mod chart;
pub(crate) mod layout;
pub(crate) mod paint;
pub(crate) mod svg;

use paint::Paint;

/// A picture as shapes, back to front. Lengths are CSS pixels, from the upper left corner.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Scene {
    pub width: f32,
    pub height: f32,
    /// Its text for readers who cannot see it.
    pub title: String,
    pub shapes: Vec<Shape>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// A rectangle, or a line: all lines are level or upright.
    Rectangle {
        x: f32,
        y: f32,
        width: f32,
        height: f32,
        paint: Paint,
    },
    Dot {
        x: f32,
        y: f32,
        radius: f32,
        paint: Paint,
    },
    /// A line of text; `y` is its baseline.
    Text {
        x: f32,
        y: f32,
        size: f32,
        anchor: Anchor,
        paint: Paint,
        text: String,
    },
}

/// Which part of a text lies at its `x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}
