//! The pictures: what the samples of each runtime look like, and where their median is.
//!
//! ```text
//! Results -> chart: a panel a question, a row a runtime -> Scene (rectangles, dots, texts) -> svg
//! ```
//!
//! Its figures are those of the tables. A letter of the font is as
//! wide as any other: what is laid out here fits wherever it is drawn.

pub(crate) mod axis;
pub(crate) mod chart;
pub(crate) mod svg;

/// What is drawn, back to front. Lengths are CSS pixels, from the upper left corner.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Scene {
    /// Its width.
    pub width: f32,
    /// Its height.
    pub height: f32,
    /// What it is of, for who cannot see it.
    pub title: String,
    /// The shapes.
    pub shapes: Vec<Shape>,
}

/// One shape.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// A rectangle, and lines too: they are level or upright.
    Rectangle {
        /// Its left.
        x: f32,
        /// Its top.
        y: f32,
        /// From left to right.
        width: f32,
        /// From top to bottom.
        height: f32,
        /// What it is painted with.
        paint: Paint,
    },
    /// A disc.
    Dot {
        /// Its centre.
        x: f32,
        /// Its centre.
        y: f32,
        /// Its radius.
        radius: f32,
        /// What it is painted with.
        paint: Paint,
    },
    /// A line of text.
    Text {
        /// Where it is anchored.
        x: f32,
        /// Its baseline.
        y: f32,
        /// The size of its letters.
        size: f32,
        /// Which part of it is at `x`.
        anchor: Anchor,
        /// What it is painted with.
        paint: Paint,
        /// Its text.
        text: String,
    },
}

/// Which part of a text is where it is anchored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// Its beginning.
    Start,
    /// Its middle.
    Middle,
}

/// What is painted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// The ground.
    Paper,
    /// What is read.
    Ink,
    /// What is read last.
    Faint,
    /// Lines to measure by.
    Grid,
    /// What went wrong.
    Bad,
    /// The interval of a median.
    Interval,
    /// A runtime, by its place among them.
    Runtime(usize),
}

/// The colours of Okabe and Ito that stand out from white and from black: whoever is colour-blind
/// can tell them apart. <https://jfly.uni-koeln.de/color/>
const RUNTIMES: [[u8; 3]; 6] = [
    [0xd5, 0x5e, 0x00],
    [0x00, 0x72, 0xb2],
    [0x00, 0x9e, 0x73],
    [0xcc, 0x79, 0xa7],
    [0xe6, 0x9f, 0x00],
    [0x56, 0xb4, 0xe9],
];

impl Paint {
    /// Red, green, blue.
    pub(crate) fn colour(self) -> [u8; 3] {
        match self {
            Self::Paper => [0xff, 0xff, 0xff],
            Self::Ink => [0x1f, 0x23, 0x28],
            Self::Faint => [0x59, 0x63, 0x6e],
            Self::Grid => [0xe1, 0xe4, 0xe8],
            Self::Bad => [0xb3, 0x1d, 0x28],
            Self::Interval => [0x8c, 0x95, 0x9f],
            Self::Runtime(number) => RUNTIMES[number % RUNTIMES.len()],
        }
    }

    /// From 0, which lets everything through, to 1.
    pub(crate) fn opacity(self) -> f32 {
        match self {
            Self::Runtime(_) => 0.65,
            Self::Interval => 0.45,
            _ => 1.0,
        }
    }
}
