//! The words of a command line: options with their values, and the other words. As Python's argparse takes them, which the
//! AWS CLI uses: options may stand anywhere, and may be abbreviated.

use super::failure::Failure;

/// How many words an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    None,
    One,
    /// All up to the next option.
    Many,
}

#[derive(Debug, Clone)]
pub(crate) struct OptionWord {
    /// Without the two hyphens.
    pub name: String,
    pub takes: Takes,
}

impl OptionWord {
    pub(crate) fn new(name: impl Into<String>, takes: Takes) -> Self {
        Self {
            name: name.into(),
            takes,
        }
    }
}

/// A word that belongs to no option of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rest {
    pub word: String,
    /// It looks like an option.
    pub is_option: bool,
}

/// A command line, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    /// The given options by their full names, with their values; the last of several counts.
    pub options: Vec<(String, Vec<String>)>,
    pub rest: Vec<Rest>,
}

impl Words {
    pub(crate) fn parse(options: &[OptionWord], words: &[String]) -> Result<Self, Failure> {
        let mut parsed = Self::default();
        let mut at = 0;
        let mut only_values = false;
        while let Some(word) = words.get(at) {
            at += 1;
            if word == "--" && !only_values {
                only_values = true;
                continue;
            }
            let matched = if only_values {
                Matched::Value
            } else {
                matched(options, word)?
            };
            let (option, given) = match matched {
                Matched::Option(option, given) => (option, given),
                other => {
                    parsed.rest.push(Rest {
                        word: word.clone(),
                        is_option: matches!(other, Matched::Unknown),
                    });
                    continue;
                }
            };
            let mut values = Vec::new();
            match (option.takes, given) {
                (Takes::None, Some(value)) => {
                    return Err(error(
                        option,
                        &format!("ignored explicit argument '{value}'"),
                    ));
                }
                (Takes::None, None) => {}
                (_, Some(value)) => values.push(value),
                (takes, None) => {
                    while let Some(word) = words.get(at)
                        && word != "--"
                        && (only_values || matches!(matched_quietly(options, word), Matched::Value))
                    {
                        values.push(word.clone());
                        at += 1;
                        if takes == Takes::One {
                            break;
                        }
                    }
                    if takes == Takes::One && values.is_empty() {
                        return Err(error(option, "expected one argument"));
                    }
                }
            }
            // In the order of the last ones, for options that exclude each other.
            parsed.options.retain(|(name, _)| *name != option.name);
            parsed.options.push((option.name.clone(), values));
        }
        Ok(parsed)
    }

    /// The values of an option, if it is given.
    pub(crate) fn values(&self, name: &str) -> Option<&[String]> {
        let (_, values) = self.options.iter().find(|(option, _)| option == name)?;
        Some(values)
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values(name)?.first().map(String::as_str)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.values(name).is_some()
    }

    /// Takes the first word that is no option.
    pub(crate) fn take_first(&mut self) -> Option<String> {
        let at = self.rest.iter().position(|rest| !rest.is_option)?;
        Some(self.rest.remove(at).word)
    }
}

enum Matched<'a> {
    /// With the value behind `=`.
    Option(&'a OptionWord, Option<String>),
    Value,
    Unknown,
}

fn error(option: &OptionWord, message: &str) -> Failure {
    Failure::usage_error(&format!("argument --{}: {message}", option.name))
}

fn matched_quietly<'a>(options: &'a [OptionWord], word: &str) -> Matched<'a> {
    matched(options, word).unwrap_or(Matched::Unknown)
}

fn matched<'a>(options: &'a [OptionWord], word: &str) -> Result<Matched<'a>, Failure> {
    if !word.starts_with('-') || word == "-" {
        return Ok(Matched::Value);
    }
    let find = |name: &str| options.iter().find(|option| option.name == name);
    let long = word.strip_prefix("--").filter(|long| !long.is_empty());
    if let Some(long) = long {
        if let Some(option) = find(long) {
            return Ok(Matched::Option(option, None));
        }
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        if let Some(option) = find(name) {
            return Ok(Matched::Option(option, value));
        }
        let abbreviated: Vec<_> = options
            .iter()
            .filter(|option| option.name.starts_with(name))
            .collect();
        match abbreviated[..] {
            [] => {}
            [option] => return Ok(Matched::Option(option, value)),
            _ => {
                let names: Vec<_> = abbreviated
                    .iter()
                    .map(|option| format!("--{}", option.name))
                    .collect();
                return Err(Failure::usage_error(&format!(
                    "ambiguous option: {word} could match {}",
                    names.join(", ")
                )));
            }
        }
    }
    let is_value = is_negative_number(word) || word.contains(' ');
    Ok(if is_value {
        Matched::Value
    } else {
        Matched::Unknown
    })
}

/// `-5`, `-.5` and `-1.5`, but not `-5.`.
fn is_negative_number(word: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let number = &word[1..];
    match number.split_once('.') {
        Some((whole, part)) => digits(whole) && !part.is_empty() && digits(part),
        None => !number.is_empty() && digits(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Words, Failure> {
        let options = [
            OptionWord::new("name", Takes::One),
            OptionWord::new("names", Takes::Many),
            OptionWord::new("wait", Takes::None),
            OptionWord::new("no-wait", Takes::None),
        ];
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        Words::parse(&options, &words)
    }

    #[test]
    fn options_take_their_values_wherever_they_stand() {
        let words = parse(&[
            "a",
            "--names",
            "b",
            "-5",
            "c d",
            "--wait",
            "e",
            "--name=f=g",
        ]);
        let words = words.unwrap_or_else(|failure| panic!("{failure:?}"));
        assert_eq!(
            words.values("names"),
            Some(&["b", "-5", "c d"].map(str::to_owned)[..])
        );
        assert!(words.has("wait") && !words.has("no-wait"));
        assert_eq!(words.value("name"), Some("f=g"));
        let rest: Vec<_> = words.rest.iter().map(|rest| rest.word.as_str()).collect();
        assert_eq!(rest, ["a", "e"]);
    }

    #[test]
    fn an_option_may_be_abbreviated_if_one_alone_begins_so() {
        assert!(parse(&["--wa"]).is_ok_and(|words| words.has("wait")));
        assert!(parse(&["--n", "x"]).is_err_and(|failure| failure.message.contains("ambiguous")));
        assert!(parse(&["--other"]).is_ok_and(|words| words.rest[0].is_option));
    }

    #[test]
    fn a_missing_and_a_surplus_value_are_errors() {
        assert!(parse(&["--name"]).is_err_and(|failure| failure.status == 252));
        assert!(parse(&["--name", "--wait"]).is_err());
        assert!(parse(&["--wait=x"]).is_err());
        assert!(parse(&["--names"]).is_ok_and(|words| words.values("names") == Some(&[])));
    }
}
