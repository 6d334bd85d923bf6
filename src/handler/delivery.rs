//! How a handler gets its event.

/// How a handler gets its event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Delivery {
    /// On standard input.
    Stdin,
    /// As an argument, the last one.
    Argument,
    /// Both.
    #[default]
    Both,
    /// Not at all.
    None,
}

impl Delivery {
    /// The words of `COSHELL_EVENT`.
    pub const WORDS: [(&str, Self); 4] = [
        ("stdin", Self::Stdin),
        ("argument", Self::Argument),
        ("both", Self::Both),
        ("none", Self::None),
    ];

    /// The one that a word of `COSHELL_EVENT` stands for, in upper or lower case.
    pub fn named(word: &str) -> Option<Self> {
        let mut words = Self::WORDS.into_iter();
        words
            .find(|(name, _)| name.eq_ignore_ascii_case(word))
            .map(|(_, delivery)| delivery)
    }

    /// Whether standard input holds the event; otherwise it is empty.
    pub fn is_on_stdin(self) -> bool {
        matches!(self, Self::Stdin | Self::Both)
    }

    /// Whether the event is an argument.
    pub fn is_argument(self) -> bool {
        matches!(self, Self::Argument | Self::Both)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_setting_in_any_case() {
        assert_eq!(Delivery::named("stdin"), Some(Delivery::Stdin));
        assert_eq!(Delivery::named("Argument"), Some(Delivery::Argument));
        assert_eq!(Delivery::named("NONE"), Some(Delivery::None));
        assert_eq!([Delivery::named(""), Delivery::named("all")], [None; 2]);
    }
}
