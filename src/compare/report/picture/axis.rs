//! The axis of a picture: logarithmic where the span of the samples is large.

/// A larger span is drawn by logarithms: else all small samples would be one dot.
const LARGE_SPAN: f64 = 6.0;
/// The most ticks on an axis.
const TICKS: u8 = 9;

/// An axis from left to right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Axis {
    from: f64,
    to: f64,
    /// Whether equal lengths are equal ratios.
    pub is_logarithmic: bool,
}

impl Axis {
    /// An axis with room for all samples; `None` if there are none.
    pub(crate) fn of(samples: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        let samples = samples.filter(|sample| sample.is_finite());
        let least = samples.clone().reduce(f64::min)?;
        let most = samples.reduce(f64::max)?;
        let is_logarithmic = least > 0.0 && most / least > LARGE_SPAN;
        let (from, to) = if is_logarithmic {
            let room = (most / least).powf(0.04);
            (least / room, most * room)
        } else {
            // Equal samples have a span, too.
            let room = (0.06 * (most - least)).max(0.02 * most.abs()).max(1e-9);
            // Times are not negative.
            let from = least - room;
            (if least >= 0.0 { from.max(0.0) } else { from }, most + room)
        };
        Some(Self {
            from,
            to,
            is_logarithmic,
        })
    }

    /// The place of a sample, from 0 at the left end to 1 at the right end.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn place(&self, sample: f64) -> f32 {
        let share = if self.is_logarithmic {
            (sample / self.from).ln() / (self.to / self.from).ln()
        } else {
            (sample - self.from) / (self.to - self.from)
        };
        share.clamp(0.0, 1.0) as f32
    }

    /// Round numbers along the axis.
    pub(crate) fn ticks(&self) -> Vec<f64> {
        let is_on_it = |tick: &f64| (self.from..=self.to).contains(tick);
        if self.is_logarithmic {
            let decades = (decade(self.from)..=decade(self.to)).map(|power| 10f64.powi(power));
            // As dense as there is room for.
            for steps in [
                &[1.0, 2.0, 3.0, 5.0, 7.0][..],
                &[1.0, 2.0, 5.0],
                &[1.0, 3.0],
                &[1.0],
            ] {
                let all = decades
                    .clone()
                    .flat_map(|ten| steps.iter().map(move |step| step * ten));
                let ticks: Vec<_> = all.filter(is_on_it).collect();
                if ticks.len() <= usize::from(TICKS) {
                    return ticks;
                }
            }
        }
        let ten = 10f64.powi(decade((self.to - self.from) / 10.0));
        let mut steps = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]
            .map(|step| step * ten)
            .into_iter();
        let count = |step: f64| ((self.to - self.from) / step).floor();
        let Some(step) = steps.find(|step| count(*step) <= 6.0) else {
            return Vec::new();
        };
        let first = (self.from / step).ceil();
        let numbers = (0..TICKS).map(|number| (first + f64::from(number)) * step);
        numbers.filter(is_on_it).collect()
    }
}

/// The power of ten that is at most this.
#[allow(clippy::cast_possible_truncation)]
fn decade(value: f64) -> i32 {
    value.log10().floor() as i32
}

/// A tick as a number without trailing zeros.
pub(crate) fn tick_text(tick: f64) -> String {
    let text = format!("{tick:.9}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    fn axis(samples: &[f64]) -> Axis {
        Axis::of(samples.iter().copied()).expect("samples")
    }

    fn texts(samples: &[f64]) -> Vec<String> {
        axis(samples).ticks().into_iter().map(tick_text).collect()
    }

    #[test]
    fn large_spans_are_by_logarithms() {
        assert!(axis(&[0.1, 4.0]).is_logarithmic);
        assert!(!axis(&[1.0, 4.0]).is_logarithmic);
        assert!(!axis(&[0.0, 4.0]).is_logarithmic);
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(texts(&[0.05, 4.0]), ["0.05", "0.1", "0.2", "0.5", "1", "2"]);
        assert_eq!(texts(&[8.1, 11.9]), ["8", "9", "10", "11", "12"]);
        assert_eq!(texts(&[0.0, 4.0]), ["0", "1", "2", "3", "4"]);
        assert_eq!(
            texts(&[0.001, 5000.0]),
            ["0.001", "0.01", "0.1", "1", "10", "100", "1000"]
        );
    }

    #[test]
    fn any_samples_have_an_axis_with_places() {
        let odd: [&[f64]; 6] = [
            &[0.0],
            &[3.0, 3.0],
            &[1e-12, 1e12],
            &[f64::NAN, 1.0],
            &[-3.0, 5.0],
            &[1e-300],
        ];
        for samples in odd {
            let axis = axis(samples);
            for sample in samples.iter().filter(|sample| sample.is_finite()) {
                assert!((0.0..=1.0).contains(&axis.place(*sample)), "{samples:?}");
            }
            assert!(axis.ticks().len() <= 30, "{samples:?}");
        }
        assert_eq!(Axis::of([f64::INFINITY].into_iter()), None);
    }
}
