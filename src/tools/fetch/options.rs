//! The options, which are those of curl.

use std::time::Duration;

use crate::options::Arguments;

/// What is wrong with a part of a form without a name. The part may be a secret.
pub(super) const NO_NAME: &str = "expected NAME=CONTENT for --form: there is no = in it";

/// A piece of the data to send, as the options give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data {
    /// `-d`: a text, or `@FILE`, of which line breaks are dropped.
    Text(String),
    /// `--data-raw`.
    Raw(String),
    /// `--data-binary`: a text, or `@FILE` as it is.
    Binary(String),
    /// `--data-urlencode`.
    Encoded(String),
    /// `--json`: a text, or `@FILE` as it is.
    Json(String),
}

/// Where an answer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    /// `-o`.
    File(String),
    /// `-O`: the file has the name of the last part of the path.
    RemoteName,
}

#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Options {
    pub urls: Vec<String>,
    pub method: Option<String>,
    pub headers: Vec<String>,
    pub data: Vec<Data>,
    /// `-F`; whether it is `--form-string`.
    pub form: Vec<(String, bool)>,
    /// `-T`: files that are sent as they are, one for each URL.
    pub uploads: Vec<String>,
    pub is_get: bool,
    pub is_head: bool,
    /// Where the answers go, one for each URL.
    pub outputs: Vec<Destination>,
    pub creates_folders: bool,
    pub variable: Option<String>,
    pub write_out: Option<String>,
    pub fails: bool,
    /// Fails, and gives the body, too.
    pub fails_with_body: bool,
    pub includes_headers: bool,
    pub dump_headers: Option<String>,
    pub is_silent: bool,
    pub shows_errors: bool,
    pub follows: bool,
    /// `None`: curl's limit. -1: no limit.
    pub max_redirects: Option<i64>,
    pub retries: u32,
    pub retry_delay: Option<Duration>,
    pub retry_max_time: Option<Duration>,
    pub retries_refused: bool,
    pub retries_all: bool,
    pub max_time: Option<Duration>,
    pub connect_timeout: Option<Duration>,
    pub user: Option<String>,
    pub bearer: Option<String>,
    pub cookies: Vec<String>,
    pub keeps_dots: bool,
    pub is_insecure: bool,
    pub authorities: Option<String>,
    pub proxy: Option<String>,
    pub no_proxy: Option<String>,
    pub is_compressed: bool,
}

/// What curl takes at most: as many milliseconds as a `long` can hold.
const MAX_SECONDS: f64 = 9_223_372_036_854_775.0;
/// Longer than any call, and short enough for sums with times.
const MAX_LIMIT: Duration = Duration::from_secs(1_000_000_000);

/// Short options, and the long ones that they stand for.
const SHORT: [(char, &str); 26] = [
    ('X', "request"),
    ('H', "header"),
    ('d', "data"),
    ('F', "form"),
    ('T', "upload-file"),
    ('G', "get"),
    ('I', "head"),
    ('o', "output"),
    ('O', "remote-name"),
    ('v', "variable"),
    ('w', "write-out"),
    ('f', "fail"),
    ('i', "include"),
    ('D', "dump-header"),
    ('s', "silent"),
    ('S', "show-error"),
    ('L', "location"),
    ('m', "max-time"),
    ('u', "user"),
    ('A', "user-agent"),
    ('e', "referer"),
    ('b', "cookie"),
    ('k', "insecure"),
    ('x', "proxy"),
    ('N', "no-buffer"),
    ('g', "globoff"),
];

impl Options {
    /// # Errors
    /// An option is not known, or has no value, or a wrong one.
    pub(crate) fn read(arguments: &[Vec<u8>]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = Arguments::new(arguments, &SHORT);
        let mut urls = Vec::new();
        while let Some(name) = words.next_option(&mut urls)? {
            // An option may name a URL, too. Their order stays.
            options.urls.append(&mut urls);
            options.take(&name, &mut words)?;
        }
        options.urls.append(&mut urls);
        if options.urls.is_empty() {
            return Err("expected a URL".to_owned());
        }
        // With -G the data is in the URL, but curl refuses it beside another body.
        let has_body = !options.is_get || !options.form.is_empty() || !options.uploads.is_empty();
        let kinds = [
            !options.data.is_empty() && has_body,
            !options.form.is_empty(),
            !options.uploads.is_empty(),
            options.is_head,
        ];
        if kinds.into_iter().filter(|kind| *kind).count() > 1 {
            return Err("expected only one of data, -F, -T and -I".to_owned());
        }
        Ok(options)
    }

    /// Whether some of the data is JSON. Then curl calls all of it so.
    pub(crate) fn has_json(&self) -> bool {
        self.data.iter().any(|data| matches!(data, Data::Json(_)))
    }

    /// Whether the heads of answers go where the bodies go.
    pub(crate) fn shows_heads(&self) -> bool {
        self.includes_headers || self.is_head
    }

    fn take(&mut self, name: &str, words: &mut Arguments) -> Result<(), String> {
        match name {
            "url" => self.urls.push(words.value()?),
            "request" => self.method = Some(words.value()?),
            "header" => self.headers.push(words.value()?),
            "user-agent" => self.headers.push(format!("User-Agent: {}", words.value()?)),
            "referer" => {
                let referer = words.value()?;
                if referer.ends_with(";auto") {
                    let cause = "there is no ;auto for --referer; the program curl may have it";
                    return Err(cause.to_owned());
                }
                self.headers.push(format!("Referer: {referer}"));
            }
            "data" | "data-ascii" => self.data.push(Data::Text(words.value()?)),
            "data-raw" => self.data.push(Data::Raw(words.value()?)),
            "data-binary" => self.data.push(Data::Binary(words.value()?)),
            "data-urlencode" => self.data.push(Data::Encoded(words.value()?)),
            "json" => self.data.push(Data::Json(words.value()?)),
            "form" | "form-string" => {
                let part = words.value()?;
                if !part.contains('=') {
                    return Err(NO_NAME.to_owned());
                }
                self.form.push((part, name == "form-string"));
            }
            "upload-file" => self.uploads.push(words.value()?),
            "get" => self.is_get = true,
            "head" => self.is_head = true,
            "output" => self.outputs.push(Destination::File(words.value()?)),
            "remote-name" => self.outputs.push(Destination::RemoteName),
            "create-dirs" => self.creates_folders = true,
            "variable" => self.variable = Some(words.variable()?),
            "write-out" => self.write_out = Some(words.value()?),
            "fail" => self.fails = true,
            "fail-with-body" => self.fails_with_body = true,
            "include" | "show-headers" => self.includes_headers = true,
            "dump-header" => self.dump_headers = Some(words.value()?),
            "silent" => self.is_silent = true,
            "show-error" => self.shows_errors = true,
            "location" => self.follows = true,
            "max-redirs" => {
                let value = words.value()?;
                let most = if value == "-1" {
                    -1
                } else {
                    number(name, &value)?.into()
                };
                self.max_redirects = Some(most);
            }
            "retry" => self.retries = number(name, &words.value()?)?,
            "retry-delay" => self.retry_delay = seconds(name, &words.value()?)?,
            "retry-max-time" => self.retry_max_time = seconds(name, &words.value()?)?,
            "retry-connrefused" => self.retries_refused = true,
            "retry-all-errors" => self.retries_all = true,
            "max-time" => self.max_time = seconds(name, &words.value()?)?,
            "connect-timeout" => self.connect_timeout = seconds(name, &words.value()?)?,
            "user" => self.user = Some(words.value()?),
            "oauth2-bearer" => self.bearer = Some(words.value()?),
            "cookie" => self.cookies.push(words.value()?),
            "path-as-is" => self.keeps_dots = true,
            "insecure" => self.is_insecure = true,
            "cacert" => self.authorities = Some(words.value()?),
            "proxy" => self.proxy = Some(words.value()?),
            "noproxy" => self.no_proxy = Some(words.value()?),
            "compressed" => self.is_compressed = true,
            // What curl does otherwise, and this never.
            "no-buffer" | "no-progress-meter" | "http1.1" | "basic" | "globoff" => {}
            _ => {
                return Err(format!(
                    "there is no option --{name}; the program curl may have it"
                ));
            }
        }
        Ok(())
    }
}

fn number(name: &str, value: &str) -> Result<u32, String> {
    let parsed = value.trim().parse();
    parsed.map_err(|_| format!("expected a number for --{name}, found {value}"))
}

/// A limit. There is none if it is 0.
fn seconds(name: &str, value: &str) -> Result<Option<Duration>, String> {
    let parsed = value.trim().parse::<f64>();
    let parsed = parsed.ok().filter(|seconds| *seconds >= 0.0);
    let seconds = parsed
        .ok_or_else(|| format!("expected a number of seconds for --{name}, found {value}"))?;
    if seconds > MAX_SECONDS {
        return Err(format!(
            "expected fewer seconds for --{name}, found {value}"
        ));
    }
    let limit = Duration::try_from_secs_f64(seconds).unwrap_or(MAX_LIMIT);
    let limit = limit.min(MAX_LIMIT);
    Ok((!limit.is_zero()).then_some(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        let words: Vec<_> = line
            .split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect();
        Options::read(&words)
    }

    #[test]
    fn options_are_read_as_curl_reads_them() {
        let options = read("-sSfXPOST -H a:b -da=b --max-time=2.5 -o out http://x --retry 3")
            .expect("options");
        assert!(options.is_silent && options.shows_errors && options.fails);
        assert_eq!(options.method.as_deref(), Some("POST"));
        assert_eq!(options.headers, ["a:b"]);
        assert_eq!(options.data, [Data::Text("a=b".to_owned())]);
        assert_eq!(options.max_time, Some(Duration::from_millis(2500)));
        assert_eq!(options.outputs, [Destination::File("out".to_owned())]);
        assert_eq!(options.retries, 3);
        assert_eq!(options.urls, ["http://x"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |line: &str| read(line).expect_err("an error");
        assert_eq!(error("-s"), "expected a URL");
        assert_eq!(error("http://x -o"), "expected a value for -o");
        for body in ["-F b=c", "-T file"] {
            let error = error(&format!("-G -d a {body} http://x"));
            assert_eq!(error, "expected only one of data, -F, -T and -I");
        }
        assert_eq!(error("http://x -Q"), "there is no option -Q");
        assert!(error("http://x --ntlm").starts_with("there is no option --ntlm"));
        assert!(error("http://x -v 1a").contains("variable 1a"));
        assert!(error("http://x -m x").contains("seconds for --max-time"));
    }
}
