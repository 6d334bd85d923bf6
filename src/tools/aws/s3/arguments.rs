//! Reads the options of `aws s3 COMMAND`, by the rules of Python's argparse, which the AWS CLI follows.

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    One,
    /// A value, or this one if none follows.
    Optional(&'static str),
    /// One value or more.
    Many,
}

/// An option of a command.
#[derive(Debug)]
pub(super) struct Known {
    /// Without the dashes.
    pub name: &'static str,
    pub takes: Takes,
    /// The values that it may have; any, if there are none.
    pub choices: &'static [&'static str],
}

/// A command line that has been read.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    /// The words that are no options.
    pub paths: Vec<String>,
    /// Options in their order, each with its values.
    options: Vec<(&'static str, Vec<String>)>,
}

/// The words that belong to no option: how many, and how the AWS CLI names them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paths {
    pub least: usize,
    pub most: usize,
    pub name: &'static str,
}

/// Why a command line cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Misuse {
    /// To be shown with how `aws` is used.
    Usage(String),
    /// Words that nobody knows.
    Unknown(Vec<String>),
}

/// # Errors
/// An option is not known, lacks its value, or has one that it cannot have; or paths are missing.
pub(super) fn read(
    words: &[String],
    known: &[&Known],
    expected: Paths,
) -> Result<Arguments, Misuse> {
    let mut read = Arguments::default();
    let mut unknown = Vec::new();
    let mut has_paths = false;
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if !is_option(word) {
            // Paths count only if they stand together.
            let run = plain_words(&words[at..]);
            let taken = if has_paths || run.len() < expected.least {
                0
            } else {
                has_paths = true;
                run.len().min(expected.most)
            };
            read.paths.extend_from_slice(&run[..taken]);
            unknown.extend_from_slice(&run[taken..]);
            at += run.len();
            continue;
        }
        at += 1;
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let Some(option) = find(name, known)? else {
            unknown.push(word.clone());
            continue;
        };
        let following = plain_words(&words[at..]);
        let (values, count) = values_of(option, value, following)?;
        at += count;
        check_choices(option, &values)?;
        read.options.push((option.name, values));
    }
    if !has_paths && expected.least > 0 {
        return Err(Misuse::Usage(format!(
            "the following arguments are required: {}",
            expected.name
        )));
    }
    if unknown.is_empty() {
        Ok(read)
    } else {
        Err(Misuse::Unknown(unknown))
    }
}

/// Whether a word is an option. A dash stands for standard input or output; a number may be negative.
fn is_option(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-') && word.parse::<f64>().is_err() && !word.contains(' ')
        || word.starts_with("--") && word.contains('=')
}

/// The words up to the next option.
fn plain_words(words: &[String]) -> &[String] {
    let end = words.iter().position(|word| is_option(word));
    &words[..end.unwrap_or(words.len())]
}

/// The option of this name, or the only one whose name begins so.
fn find<'a>(word: &str, known: &[&'a Known]) -> Result<Option<&'a Known>, Misuse> {
    let Some(name) = word.strip_prefix("--") else {
        return Ok(None);
    };
    if let Some(option) = known.iter().find(|option| option.name == name) {
        return Ok(Some(option));
    }
    let near: Vec<_> = known
        .iter()
        .filter(|option| option.name.starts_with(name))
        .collect();
    match near[..] {
        [] => Ok(None),
        [option] => Ok(Some(option)),
        _ => {
            let names: Vec<_> = near
                .iter()
                .map(|option| format!("--{}", option.name))
                .collect();
            Err(Misuse::Usage(format!(
                "ambiguous option: {word} could match {}",
                names.join(", ")
            )))
        }
    }
}

/// The values of an option, and how many of the following words they are.
fn values_of(
    option: &Known,
    value: Option<String>,
    following: &[String],
) -> Result<(Vec<String>, usize), Misuse> {
    let usage = |cause: &str| Misuse::Usage(format!("argument --{}: {cause}", option.name));
    match (option.takes, value) {
        (Takes::Nothing, None) => Ok((Vec::new(), 0)),
        (Takes::Nothing, Some(value)) => {
            Err(usage(&format!("ignored explicit argument '{value}'")))
        }
        (_, Some(value)) => Ok((vec![value], 0)),
        (Takes::Many, None) if following.is_empty() => Err(usage("expected at least one argument")),
        (Takes::Many, None) => Ok((following.to_vec(), following.len())),
        (takes, None) => match (following.first(), takes) {
            (Some(value), _) => Ok((vec![value.clone()], 1)),
            (None, Takes::Optional(value)) => Ok((vec![value.to_owned()], 0)),
            (None, _) => Err(usage("expected one argument")),
        },
    }
}

fn check_choices(option: &Known, values: &[String]) -> Result<(), Misuse> {
    let is_choice = |value: &String| option.choices.contains(&value.as_str());
    if option.choices.is_empty() || values.iter().all(is_choice) {
        return Ok(());
    }
    Err(Misuse::Usage(format!(
        "argument --{}: {}",
        option.name,
        invalid_choice(option.choices)
    )))
}

/// What the AWS CLI says about a word that is none of these.
pub(super) fn invalid_choice(choices: &[&str]) -> String {
    let mut text = "Invalid choice, valid choices are:\n".to_owned();
    for pair in choices.chunks(2) {
        let columns: Vec<_> = pair.iter().map(|choice| format!("{choice:<40}")).collect();
        text.push('\n');
        text.push_str(&columns.join(" | "));
    }
    text
}

impl Arguments {
    pub(super) fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(other, _)| *other == name)
    }

    /// The values of an option, where it comes last.
    pub(super) fn values(&self, name: &str) -> &[String] {
        let mut options = self.options.iter().rev();
        options
            .find(|(other, _)| *other == name)
            .map_or(&[], |(_, values)| values)
    }

    /// The value of an option; `None` if it is empty, too.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let value = self.values(name).first()?;
        (!value.is_empty()).then_some(value)
    }

    /// The value of an option that takes a number.
    ///
    /// # Errors
    /// It is no number: the words of Python.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, String> {
        let Some(value) = self.values(name).first() else {
            return Ok(None);
        };
        let number = value.trim().parse();
        number
            .map(Some)
            .map_err(|_| format!("invalid literal for int() with base 10: '{value}'"))
    }

    /// `--exclude` and `--include` in their order: whether each one includes, and its pattern.
    pub(super) fn filters(&self) -> impl Iterator<Item = (bool, &str)> {
        self.options.iter().filter_map(|(name, values)| {
            let includes = *name == "include";
            let pattern = values.first()?;
            (includes || *name == "exclude").then_some((includes, pattern.as_str()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn known(name: &'static str, takes: Takes) -> Known {
        Known {
            name,
            takes,
            choices: &[],
        }
    }
    const QUIET: Known = known("quiet", Takes::Nothing);
    const EXCLUDE: Known = known("exclude", Takes::One);
    const INCLUDE: Known = known("include", Takes::One);
    const GRANTS: Known = known("grants", Takes::Many);
    const SSE: Known = Known {
        name: "sse",
        takes: Takes::Optional("AES256"),
        choices: &["AES256", "aws:kms"],
    };
    const ALL: [&Known; 5] = [&QUIET, &EXCLUDE, &INCLUDE, &GRANTS, &SSE];

    fn read_text(text: &str) -> Result<Arguments, Misuse> {
        let words: Vec<_> = text.split(' ').map(ToOwned::to_owned).collect();
        let expected = Paths {
            least: 2,
            most: 2,
            name: "paths",
        };
        read(&words, &ALL, expected)
    }

    #[test]
    fn options_and_paths_are_kept_apart() {
        let read = read_text("--qu - -1 --sse --exclude=a --incl b --grants x y").expect("words");
        assert_eq!(read.paths, ["-", "-1"]);
        assert!(read.has("quiet"));
        assert_eq!(read.value("sse"), Some("AES256"));
        assert_eq!(read.values("grants"), ["x", "y"]);
        let filters: Vec<_> = read.filters().collect();
        assert_eq!(filters, [(false, "a"), (true, "b")]);
        assert_eq!(read.number("exclude").ok(), None);
        assert_eq!(read.number("quiet"), Ok(None));
    }

    #[test]
    fn misuse_is_what_argparse_finds() {
        let usage = |text: &str| match read_text(text) {
            Err(Misuse::Usage(text)) => text,
            other => format!("{other:?}"),
        };
        let missing = "the following arguments are required: paths";
        assert_eq!(usage("a --quiet b"), missing);
        assert_eq!(usage("--grants a b"), missing);
        assert_eq!(
            usage("a b --exclude"),
            "argument --exclude: expected one argument"
        );
        assert_eq!(
            usage("a b --grants --quiet"),
            "argument --grants: expected at least one argument"
        );
        assert!(usage("a b --sse x").contains("Invalid choice"));
        assert!(usage("a b --quiet=x").contains("ignored explicit argument 'x'"));
        let unknown = read_text("a b c --foo=1 -x --quiet").expect_err("unknown words");
        let words = ["c", "--foo=1", "-x"].map(ToOwned::to_owned).to_vec();
        assert_eq!(unknown, Misuse::Unknown(words));
    }
}
