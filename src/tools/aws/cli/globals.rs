//! The options that every command has.

use std::time::Duration;

use super::failure::Failure;
use super::search::Expression;
use super::words::{OptionWord, Takes, Words};
use crate::aws::settings::Choices;

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Text,
    Table,
}

impl Format {
    /// The format that an option, a variable or a setting names.
    pub(crate) fn named(name: &str) -> Result<Self, Failure> {
        match name {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            "table" => Ok(Self::Table),
            "yaml" | "yaml-stream" => Err(Failure::missing(&format!("the output format {name}"))),
            _ => Err(Failure::usage(format!("Unknown output type: {name}"))),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Globals {
    pub choices: Choices,
    pub format: Option<Format>,
    pub query: Option<Expression>,
    pub has_no_pages: bool,
    /// Bytes in arguments are given as they are, and not as Base64.
    pub takes_raw_bytes: Option<bool>,
    pub shows_version: bool,
    pub wants_debug: bool,
}

fn options() -> Vec<OptionWord> {
    let with_value = [
        "endpoint-url",
        "output",
        "query",
        "profile",
        "region",
        "color",
        "ca-bundle",
        "cli-read-timeout",
        "cli-connect-timeout",
        "cli-binary-format",
    ];
    let flags = [
        "debug",
        "no-verify-ssl",
        "no-paginate",
        "version",
        "no-sign-request",
        "no-cli-pager",
        "cli-auto-prompt",
        "no-cli-auto-prompt",
    ];
    let with_value = with_value.map(|name| OptionWord::new(name, Takes::One));
    let flags = flags.map(|name| OptionWord::new(name, Takes::None));
    with_value.into_iter().chain(flags).collect()
}

impl Globals {
    /// Takes these options from a command line, and returns the other words.
    pub(crate) fn take(words: &[String]) -> Result<(Self, Words), Failure> {
        let words = Words::parse(&options(), words)?;
        let text = |name| words.value(name).map(str::to_owned);
        let one_of = |name: &str, choices: &[&str]| match words.value(name) {
            Some(value) if !choices.contains(&value) => Err(Failure::usage_error(&format!(
                "argument --{name}: Invalid choice, valid choices are:\n\n{}",
                choices.join(" | ")
            ))),
            value => Ok(value),
        };
        one_of("color", &["on", "off", "auto"])?;
        if words.has("cli-auto-prompt") {
            return Err(Failure::missing("--cli-auto-prompt"));
        }
        if let Some(url) = words
            .value("endpoint-url")
            .filter(|url| !url.contains("://"))
        {
            return Err(Failure::usage(format!(
                "Bad value for --endpoint-url \"{url}\": scheme is missing.  Must be of the form http://<hostname>/ or https://<hostname>/"
            )));
        }
        let format = one_of("output", &["json", "text", "table", "yaml", "yaml-stream"])?;
        let bytes = one_of("cli-binary-format", &["base64", "raw-in-base64-out"])?;
        let globals = Self {
            choices: Choices {
                region: text("region"),
                profile: text("profile"),
                endpoint_url: text("endpoint-url"),
                is_unsigned: words.has("no-sign-request"),
                skips_verification: words.has("no-verify-ssl"),
                ca_bundle: text("ca-bundle"),
                read_timeout: seconds(&words, "cli-read-timeout")?,
                connect_timeout: seconds(&words, "cli-connect-timeout")?,
            },
            format: format.map(Format::named).transpose()?,
            query: words.value("query").map(Expression::parse).transpose()?,
            has_no_pages: words.has("no-paginate"),
            takes_raw_bytes: bytes.map(|format| format == "raw-in-base64-out"),
            shows_version: words.has("version"),
            wants_debug: words.has("debug"),
        };
        Ok((globals, words))
    }
}

/// A limit; 0 is none.
fn seconds(words: &Words, name: &str) -> Result<Option<Duration>, Failure> {
    let Some(text) = words.value(name) else {
        return Ok(None);
    };
    match text.trim().parse::<u32>() {
        Ok(seconds) => Ok(Some(Duration::from_secs(seconds.into()))),
        Err(_) => Err(Failure::other(format!(
            "invalid literal for int() with base 10: '{text}'"
        ))),
    }
}
