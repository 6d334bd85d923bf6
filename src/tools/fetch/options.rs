//! The options, which are those of curl.

use std::time::Duration;

use crate::options::Arguments;

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

#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Options {
    pub urls: Vec<String>,
    pub method: Option<String>,
    pub headers: Vec<String>,
    pub data: Vec<Data>,
    /// `-F`; whether it is `--form-string`.
    pub form: Vec<(String, bool)>,
    /// `-T`: a file that is sent as it is.
    pub upload: Option<String>,
    pub is_get: bool,
    pub is_head: bool,
    pub output: Option<String>,
    /// `-O`: the file has the name of the last part of the path.
    pub has_remote_name: bool,
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
    pub max_redirects: Option<u32>,
    pub retries: u32,
    pub retry_delay: Option<Duration>,
    pub retry_max_time: Option<Duration>,
    pub retries_refused: bool,
    pub retries_all: bool,
    pub max_time: Option<Duration>,
    pub connect_timeout: Option<Duration>,
    pub user: Option<String>,
    pub bearer: Option<String>,
    pub cookie: Option<String>,
    pub is_insecure: bool,
    pub authorities: Option<String>,
    pub proxy: Option<String>,
    pub no_proxy: Option<String>,
    pub is_compressed: bool,
}

/// Short options, and the long ones that they stand for.
const SHORT: [(char, &str); 25] = [
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
        Ok(options)
    }

    fn take(&mut self, name: &str, words: &mut Arguments) -> Result<(), String> {
        match name {
            "url" => self.urls.push(words.value()?),
            "request" => self.method = Some(words.value()?),
            "header" => self.headers.push(words.value()?),
            "user-agent" => self.headers.push(format!("User-Agent: {}", words.value()?)),
            "referer" => self.headers.push(format!("Referer: {}", words.value()?)),
            "data" | "data-ascii" => self.data.push(Data::Text(words.value()?)),
            "data-raw" => self.data.push(Data::Raw(words.value()?)),
            "data-binary" => self.data.push(Data::Binary(words.value()?)),
            "data-urlencode" => self.data.push(Data::Encoded(words.value()?)),
            "json" => self.data.push(Data::Json(words.value()?)),
            "form" => self.form.push((words.value()?, false)),
            "form-string" => self.form.push((words.value()?, true)),
            "upload-file" => self.upload = Some(words.value()?),
            "get" => self.is_get = true,
            "head" => self.is_head = true,
            "output" => self.output = Some(words.value()?),
            "remote-name" => self.has_remote_name = true,
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
            "max-redirs" => self.max_redirects = Some(number(name, &words.value()?)?),
            "retry" => self.retries = number(name, &words.value()?)?,
            "retry-delay" => self.retry_delay = Some(seconds(name, &words.value()?)?),
            "retry-max-time" => self.retry_max_time = Some(seconds(name, &words.value()?)?),
            "retry-connrefused" => self.retries_refused = true,
            "retry-all-errors" => self.retries_all = true,
            "max-time" => self.max_time = Some(seconds(name, &words.value()?)?),
            "connect-timeout" => self.connect_timeout = Some(seconds(name, &words.value()?)?),
            "user" => self.user = Some(words.value()?),
            "oauth2-bearer" => self.bearer = Some(words.value()?),
            "cookie" => self.cookie = Some(words.value()?),
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

fn seconds(name: &str, value: &str) -> Result<Duration, String> {
    let parsed = value.trim().parse().ok();
    let parsed = parsed.and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok());
    parsed.ok_or_else(|| format!("expected a number of seconds for --{name}, found {value}"))
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
        assert_eq!(options.output.as_deref(), Some("out"));
        assert_eq!(options.retries, 3);
        assert_eq!(options.urls, ["http://x"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |line| read(line).expect_err("an error");
        assert_eq!(error("-s"), "expected a URL");
        assert_eq!(error("http://x -o"), "expected a value for -o");
        assert_eq!(error("http://x -Q"), "there is no option -Q");
        assert!(error("http://x --ntlm").starts_with("there is no option --ntlm"));
        assert!(error("http://x -v 1a").contains("variable 1a"));
        assert!(error("http://x -m x").contains("seconds for --max-time"));
    }
}
