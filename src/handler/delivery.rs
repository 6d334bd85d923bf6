//! How a handler gets its event: the setting `COSHELL_EVENT`.

/// How a handler gets its event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Delivery {
    /// On standard input.
    Stdin,
    /// As the last argument.
    Argument,
    /// On standard input and as the last argument.
    #[default]
    Both,
    /// Not at all.
    None,
}

impl Delivery {
    /// The values of `COSHELL_EVENT`.
    pub const NAMES: [(&str, Self); 4] = [
        ("stdin", Self::Stdin),
        ("argument", Self::Argument),
        ("both", Self::Both),
        ("none", Self::None),
    ];

    /// Reads a value of `COSHELL_EVENT`, in upper or lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        let mut names = Self::NAMES.into_iter();
        names
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, delivery)| delivery)
    }

    /// Whether the event is on standard input; if not, standard input is empty.
    pub fn is_on_stdin(self) -> bool {
        matches!(self, Self::Stdin | Self::Both)
    }

    pub fn is_argument(self) -> bool {
        matches!(self, Self::Argument | Self::Both)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_setting_in_any_case() {
        assert_eq!(Delivery::from_name("stdin"), Some(Delivery::Stdin));
        assert_eq!(Delivery::from_name("Argument"), Some(Delivery::Argument));
        assert_eq!(Delivery::from_name("NONE"), Some(Delivery::None));
        assert_eq!(
            [Delivery::from_name(""), Delivery::from_name("all")],
            [None; 2]
        );
    }
}
