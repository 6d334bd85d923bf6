//! Where the parts of a row lie: side by side on a wide screen, above each other on a phone.

/// The margin around a picture.
pub(crate) const MARGIN: f32 = 16.0;
/// The size of names and figures.
pub(crate) const TEXT: f32 = 13.0;
/// The size of ticks and remarks.
pub(crate) const SMALL: f32 = 11.0;
/// The width of a letter, as a share of its size.
const LETTER: f32 = 0.603;
/// How far dots go from the middle of their row.
pub(crate) const SPREAD: f32 = 17.0;
/// The height of the dots of a row.
const DOTS: f32 = 46.0;
/// The height of the line above the dots on a phone.
const LINE: f32 = 24.0;
/// The room for figures beside the dots.
const FIGURES: f32 = 126.0;
/// The room for the disc before a name.
pub(crate) const DISC: f32 = 20.0;

/// For which screen a picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Screen {
    Wide,
    Phone,
}

/// The places in the rows of a picture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub screen: Screen,
    pub width: f32,
    /// Where dots begin and end.
    pub left: f32,
    pub right: f32,
}

impl Layout {
    /// For names of at most this length, in letters.
    pub(crate) fn new(screen: Screen, longest_name: usize) -> Self {
        match screen {
            Screen::Wide => Self {
                screen,
                width: 960.0,
                left: MARGIN + DISC + width_of(longest_name, TEXT) + 18.0,
                right: 960.0 - MARGIN - FIGURES,
            },
            // What is left of 420 pixels beside a page's margin.
            Screen::Phone => Self {
                screen,
                width: 388.0,
                left: MARGIN,
                right: 388.0 - MARGIN,
            },
        }
    }

    /// The letters of a name that there is room for.
    pub(crate) fn longest_name(screen: Screen) -> usize {
        match screen {
            Screen::Wide => 30,
            Screen::Phone => 18,
        }
    }

    pub(crate) fn row_height(&self) -> f32 {
        match self.screen {
            Screen::Wide => DOTS,
            Screen::Phone => LINE + DOTS,
        }
    }

    /// The middle of the dots of a row that begins at `top`.
    pub(crate) fn dots_middle(&self, top: f32) -> f32 {
        top + self.row_height() - DOTS / 2.0
    }

    /// The middle of the name of a row that begins at `top`.
    pub(crate) fn name_middle(&self, top: f32) -> f32 {
        match self.screen {
            Screen::Wide => self.dots_middle(top),
            Screen::Phone => top + LINE / 2.0 + 2.0,
        }
    }

    /// `text` in lines that fit, in letters of this size.
    pub(crate) fn wrap(&self, text: &str, size: f32) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for word in text.split(' ') {
            match lines.last_mut() {
                Some(line)
                    if width_of(line.chars().count() + 1 + word.chars().count(), size)
                        <= self.width - 2.0 * MARGIN =>
                {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.to_owned()),
            }
        }
        lines
    }

    /// How many letters of this size fit in a line.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(crate) fn letters(&self, size: f32) -> usize {
        ((self.width - 2.0 * MARGIN) / (LETTER * size)) as usize
    }
}

/// The width of this number of letters.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn width_of(letters: usize, size: f32) -> f32 {
    LETTER * size * letters as f32
}

/// As much of `text` as fits, and a sign that there is more.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}
