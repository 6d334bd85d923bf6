//! Colours, on white and on black.

/// What a shape is painted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// The background.
    Paper,
    /// Text.
    Ink,
    /// Text that matters less.
    Faint,
    /// Lines of the grid.
    Grid,
    /// Problems.
    Bad,
    /// The interval of a median.
    Interval,
    /// A runtime, by its index.
    Runtime(usize),
}

/// The colours of eight runtimes, on white and on the dark page. They were searched for by a program, for the largest distance
/// between any two, as everyone sees them and as people without red or green cones do, at a contrast of 3 to the
/// background, which WCAG demands of graphics. After eight they begin again; rows have names, too.
const RUNTIMES: [(Colour, Colour); 8] = [
    ([0x36, 0x79, 0xe9], [0x80, 0xcc, 0xfe]),
    ([0xfc, 0x31, 0x10], [0xa9, 0x53, 0x00]),
    ([0x0c, 0x8e, 0x53], [0x03, 0xff, 0xa6]),
    ([0x83, 0x00, 0xff], [0xad, 0x6f, 0xff]),
    ([0xfc, 0x0a, 0xb7], [0xff, 0x85, 0xa0]),
    ([0x57, 0x35, 0x00], [0xe5, 0xbb, 0x11]),
    ([0x03, 0x04, 0xbb], [0x0b, 0x74, 0xb4]),
    ([0x8e, 0x00, 0x65], [0xd0, 0x00, 0x88]),
];

/// Red, green and blue.
type Colour = [u8; 3];

impl Paint {
    /// Its colour on white, and on the dark page.
    pub(crate) fn colours(self) -> (Colour, Colour) {
        match self {
            Self::Paper => ([0xff, 0xff, 0xff], [0x0d, 0x11, 0x17]),
            Self::Ink => ([0x1f, 0x23, 0x28], [0xe6, 0xed, 0xf3]),
            Self::Faint => ([0x59, 0x63, 0x6e], [0x91, 0x98, 0xa1]),
            Self::Grid => ([0xe1, 0xe4, 0xe8], [0x2a, 0x31, 0x3a]),
            Self::Bad => ([0xb3, 0x1d, 0x28], [0xff, 0x7b, 0x72]),
            Self::Interval => ([0x8c, 0x95, 0x9f], [0x8c, 0x95, 0x9f]),
            Self::Runtime(index) => RUNTIMES[index % RUNTIMES.len()],
        }
    }

    /// From 0, which is transparent, to 1.
    pub(crate) fn opacity(self) -> f32 {
        match self {
            Self::Runtime(_) => 0.8,
            Self::Interval => 0.45,
            _ => 1.0,
        }
    }

    /// The class by which a page paints it in the dark.
    pub(crate) fn class(self) -> String {
        match self {
            Self::Paper => "paper".to_owned(),
            Self::Ink => "ink".to_owned(),
            Self::Faint => "faint".to_owned(),
            Self::Grid => "grid".to_owned(),
            Self::Bad => "bad".to_owned(),
            Self::Interval => "interval".to_owned(),
            Self::Runtime(index) => format!("runtime-{}", index % RUNTIMES.len()),
        }
    }

    /// As CSS and SVG write it.
    pub(crate) fn hex([red, green, blue]: Colour) -> String {
        format!("#{red:02x}{green:02x}{blue:02x}")
    }
}

/// The rules for pictures on a dark page.
pub(crate) fn dark_style() -> String {
    let fixed = [
        Paint::Paper,
        Paint::Ink,
        Paint::Faint,
        Paint::Grid,
        Paint::Bad,
    ];
    let runtimes = (0..RUNTIMES.len()).map(Paint::Runtime);
    let rule = |paint: Paint| {
        let colour = Paint::hex(paint.colours().1);
        format!("  svg .{} {{ fill: {colour}; }}\n", paint.class())
    };
    let rules: String = fixed.into_iter().chain(runtimes).map(rule).collect();
    format!(
        "@media (prefers-color-scheme: dark) {{\n{rules}  svg circle {{ fill-opacity: .9; }}\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear(value: f64) -> f64 {
        let value = value / 255.0;
        if value <= 0.04045 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        }
    }

    /// A colour through which the paper is seen.
    fn mixed(colour: Colour, paper: Colour, opacity: f64) -> [f64; 3] {
        [0, 1, 2].map(|part| {
            f64::from(colour[part]) * opacity + f64::from(paper[part]) * (1.0 - opacity)
        })
    }

    /// By WCAG.
    fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
        let luminance = |colour: [f64; 3]| {
            let [red, green, blue] = colour.map(linear);
            0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05
        };
        let (one, other) = (luminance(one), luminance(other));
        one.max(other) / one.min(other)
    }

    /// Lightness and two colours, in which equal distances look equal: <https://bottosson.github.io/posts/oklab/>.
    fn oklab(colour: [f64; 3]) -> [f64; 3] {
        let [red, green, blue] = colour.map(linear);
        let long = (0.412_221_47 * red + 0.536_332_54 * green + 0.051_445_99 * blue).cbrt();
        let middle = (0.211_903_5 * red + 0.680_699_55 * green + 0.107_396_96 * blue).cbrt();
        let short = (0.088_302_46 * red + 0.281_718_84 * green + 0.629_978_7 * blue).cbrt();
        [
            0.210_454_26 * long + 0.793_617_79 * middle - 0.004_072_05 * short,
            1.977_998_5 * long - 2.428_592_2 * middle + 0.450_593_7 * short,
            0.025_904_04 * long + 0.782_771_77 * middle - 0.808_675_77 * short,
        ]
    }

    #[test]
    fn eight_colours_are_seen_and_differ_on_white_and_in_the_dark() {
        let papers = Paint::Paper.colours();
        let light = RUNTIMES.map(|(light, _)| mixed(light, papers.0, 0.8));
        let dark = RUNTIMES.map(|(_, dark)| mixed(dark, papers.1, 0.9));
        for (colours, paper) in [(light, papers.0), (dark, papers.1)] {
            for (index, colour) in colours.iter().enumerate() {
                let contrast = contrast(*colour, paper.map(f64::from));
                assert!(contrast >= 3.0, "{index}: {contrast}");
                for other in &colours[..index] {
                    let (one, other) = (oklab(*colour), oklab(*other));
                    let squares = [0, 1, 2].map(|part| (one[part] - other[part]).powi(2));
                    let distance = squares.iter().sum::<f64>().sqrt();
                    // Just noticeable is 0.02.
                    assert!(distance >= 0.17, "{index}: {distance}");
                }
            }
        }
    }
}
