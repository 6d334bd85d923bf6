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
    /// Parses keywords that are separated by commas: one format at most. Without `only`, the Invoke API is served too.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut is_only, mut format) = (false, None);
        for keyword in text.split(',') {
            let chosen = match keyword {
                "only" if !is_only => {
                    is_only = true;
                    continue;
                }
                "v2" => Format::FunctionUrl,
                "v1" => Format::RestApi,
                "alb" => Format::LoadBalancer,
                _ => {
                    return Err(
                        "expected only, v1 or alb, or only,v1; v2 is the default".to_owned()
                    );
                }
            };
            if format.replace(chosen).is_some() {
                return Err("expected only one of v2, v1 and alb".to_owned());
            }
        }
        let format = format.unwrap_or_default();
        Ok(Self { is_only, format })
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
        assert_eq!(parse("v2"), Ok((false, Format::FunctionUrl)));
        assert_eq!(parse("only"), Ok((true, Format::FunctionUrl)));
        assert_eq!(parse("v1"), Ok((false, Format::RestApi)));
        assert_eq!(parse("alb,only"), Ok((true, Format::LoadBalancer)));
        for wrong in ["v3", "", "only,", "v1,alb", "v1,v1", "only,only", "beside"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
