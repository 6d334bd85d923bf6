//! The options of `aws` itself, which may stand anywhere on the command line.

use std::time::Duration;

use crate::aws::session::Choices;

/// The options that have a value.
const WITH_VALUE: [&str; 10] = [
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
const FLAGS: [&str; 8] = [
    "debug",
    "no-verify-ssl",
    "no-paginate",
    "version",
    "no-sign-request",
    "no-cli-pager",
    "cli-auto-prompt",
    "no-cli-auto-prompt",
];

/// Takes the global options out of a command line: the other words stay, in their order.
///
/// # Errors
/// An option has no value, or one that it cannot have: the text behind `aws: error: `.
pub(super) fn take(words: &[String]) -> Result<(Choices, Vec<String>), String> {
    let mut choices = Choices::default();
    let mut rest = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let Some(option) = name.strip_prefix("--").and_then(find) else {
            rest.push(word.clone());
            continue;
        };
        if FLAGS.contains(&option) {
            match option {
                "no-verify-ssl" => choices.skips_verification = true,
                "no-sign-request" => choices.is_unsigned = true,
                // The others change nothing that these commands do.
                _ => {}
            }
            continue;
        }
        let following = words.next_if(|word| value.is_none() && !word.starts_with("--"));
        let Some(value) = value.or_else(|| following.cloned()) else {
            return Err(format!("argument --{option}: expected one argument"));
        };
        match option {
            "endpoint-url" => choices.endpoint_url = Some(value),
            "profile" => choices.profile = Some(value),
            "region" => choices.region = Some(value),
            "ca-bundle" => choices.ca_bundle = Some(value),
            "cli-read-timeout" => choices.read_timeout = Some(seconds(option, &value)?),
            "cli-connect-timeout" => choices.connect_timeout = Some(seconds(option, &value)?),
            _ => {}
        }
    }
    Ok((choices, rest))
}

/// The option of this name, or the only one whose name begins so.
fn find(name: &str) -> Option<&'static str> {
    let all = || WITH_VALUE.iter().chain(&FLAGS).copied();
    if let Some(option) = all().find(|option| *option == name) {
        return Some(option);
    }
    let mut near = all().filter(|option| !name.is_empty() && option.starts_with(name));
    let option = near.next()?;
    near.next().is_none().then_some(option)
}

fn seconds(option: &str, value: &str) -> Result<Duration, String> {
    let number = value.trim().parse();
    number
        .map(Duration::from_secs)
        .map_err(|_| format!("argument --{option}: invalid int value: '{value}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_text(text: &str) -> Result<(Choices, Vec<String>), String> {
        let words: Vec<_> = text.split(' ').map(ToOwned::to_owned).collect();
        take(&words)
    }

    #[test]
    fn global_options_are_taken_from_anywhere() {
        let (choices, rest) = take_text(
            "--region=r s3 --endpoint http://x cp a --no-sign-request b --cli-read-timeout 5 --quiet",
        )
        .expect("words");
        assert_eq!(rest, ["s3", "cp", "a", "b", "--quiet"]);
        assert_eq!(choices.region.as_deref(), Some("r"));
        assert_eq!(choices.endpoint_url.as_deref(), Some("http://x"));
        assert!(choices.is_unsigned);
        assert_eq!(choices.read_timeout, Some(Duration::from_secs(5)));
    }

    #[test]
    fn options_without_a_value_are_refused() {
        assert!(take_text("s3 ls --region").is_err());
        assert!(take_text("s3 ls --region --debug").is_err());
        assert!(take_text("s3 ls --cli-read-timeout x").is_err());
    }
}
