//! `--function-url`: whether to serve anything else, and the format of the events.

use clap::builder::ValueParserFactory;

use coshell_emulator::gateway::Format;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FunctionUrl {
    /// Whether to serve only the function URL, and not Lambda's Invoke API.
    pub is_only: bool,
    pub format: Format,
}

impl FunctionUrl {
    /// Parses keywords that are separated by commas. Without keywords, the Invoke API is served too.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parsed = Self::default();
        for keyword in text.split(',').filter(|keyword| !keyword.is_empty()) {
            match keyword {
                "beside" => parsed.is_only = false,
                "only" => parsed.is_only = true,
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
    fn keywords_may_come_in_any_order() {
        let parse = |text| FunctionUrl::parse(text).map(|url| (url.is_only, url.format));
        assert_eq!(parse(""), Ok((false, Format::FunctionUrl)));
        assert_eq!(parse("only"), Ok((true, Format::FunctionUrl)));
        assert_eq!(parse("v1"), Ok((false, Format::RestApi)));
        assert_eq!(parse("alb,only"), Ok((true, Format::LoadBalancer)));
        assert!(parse("v3").is_err());
    }
}
