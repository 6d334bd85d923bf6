//! `--function-url`: which doors are open beside it, and whose events its requests become.

use clap::builder::ValueParserFactory;

use coshell_emulator::gateway::Format;

/// What is served over plain HTTP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FunctionUrl {
    /// Only the function URL is served: nobody who connects can use Lambda's API.
    pub is_alone: bool,
    /// Whose events and answers.
    pub format: Format,
}

impl FunctionUrl {
    /// Words, separated by commas; none of them is the function URL beside the callers' door.
    ///
    /// # Errors
    /// Which words there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parsed = Self::default();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            match word {
                "beside" => parsed.is_alone = false,
                "only" => parsed.is_alone = true,
                "v2" => parsed.format = Format::FunctionUrl,
                "v1" => parsed.format = Format::RestApi,
                "alb" => parsed.format = Format::LoadBalancer,
                _ => return Err("expected only, v1 or alb, or only,v1".to_owned()),
            }
        }
        Ok(parsed)
    }
}

impl ValueParserFactory for FunctionUrl {
    type Parser = clap::builder::ValueParser;

    fn value_parser() -> Self::Parser {
        clap::builder::ValueParser::new(Self::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_doors_and_formats_in_any_order() {
        let of = |text| FunctionUrl::parse(text).map(|url| (url.is_alone, url.format));
        assert_eq!(of(""), Ok((false, Format::FunctionUrl)));
        assert_eq!(of("only"), Ok((true, Format::FunctionUrl)));
        assert_eq!(of("v1"), Ok((false, Format::RestApi)));
        assert_eq!(of("alb,only"), Ok((true, Format::LoadBalancer)));
        assert!(of("v3").is_err());
    }
}
