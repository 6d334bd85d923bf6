//! `--write-out`: a text about the answer, with curl's names.

/// What the text can tell.
#[derive(Debug, Default)]
pub(crate) struct Facts<'a> {
    pub status: u16,
    pub headers: &'a [(String, String)],
    pub url: &'a str,
    pub method: &'a str,
    pub redirect_url: &'a str,
    pub bytes: u64,
    pub seconds: f64,
    pub exit_status: i32,
    pub error: &'a str,
    pub file_name: &'a str,
}

impl Facts<'_> {
    fn header(&self, name: &str) -> &str {
        let name = name.to_ascii_lowercase();
        let mut headers = self.headers.iter();
        headers
            .find(|(header, _)| *header == name)
            .map_or("", |(_, value)| value.as_str())
    }

    fn value(&self, name: &str) -> Option<String> {
        Some(match name {
            "http_code" | "response_code" => format!("{:03}", self.status),
            "content_type" => self.header("content-type").to_owned(),
            "size_download" => self.bytes.to_string(),
            "time_total" => format!("{:.6}", self.seconds),
            "url_effective" | "url" => self.url.to_owned(),
            "redirect_url" => self.redirect_url.to_owned(),
            "method" => self.method.to_owned(),
            "scheme" => self
                .url
                .split(':')
                .next()
                .unwrap_or_default()
                .to_ascii_uppercase(),
            "exitcode" => self.exit_status.to_string(),
            "errormsg" => self.error.to_owned(),
            "filename_effective" => self.file_name.to_owned(),
            "http_version" => "1.1".to_owned(),
            _ => return None,
        })
    }

    /// The text for `format`. A name that is not known stays empty, and is returned too.
    pub(crate) fn text(&self, format: &str) -> (String, Vec<String>) {
        let mut text = String::new();
        let mut unknown = Vec::new();
        let mut rest = format;
        while let Some(at) = rest.find(['%', '\\']) {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(behind) = rest.strip_prefix("%%") {
                text.push('%');
                rest = behind;
            } else if let Some((name, behind)) = enclosed(rest, "%{") {
                match self.value(name) {
                    Some(value) => text.push_str(&value),
                    None => unknown.push(name.to_owned()),
                }
                rest = behind;
            } else if let Some((name, behind)) = enclosed(rest, "%header{") {
                text.push_str(self.header(name));
                rest = behind;
            } else if let Some((letter, behind)) = escape(rest) {
                text.push(letter);
                rest = behind;
            } else {
                text.push_str(&rest[..1]);
                rest = &rest[1..];
            }
        }
        text.push_str(rest);
        (text, unknown)
    }
}

fn enclosed<'a>(text: &'a str, start: &str) -> Option<(&'a str, &'a str)> {
    text.strip_prefix(start)?.split_once('}')
}

fn escape(text: &str) -> Option<(char, &str)> {
    let letter = match text.strip_prefix('\\')?.chars().next()? {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        _ => return None,
    };
    Some((letter, &text[2..]))
}

#[cfg(test)]
mod tests {
    use super::Facts;

    #[test]
    fn text_has_the_values() {
        let headers = [("content-type".to_owned(), "a/b".to_owned())];
        let facts = Facts {
            status: 204,
            headers: &headers,
            url: "https://x/y",
            bytes: 7,
            ..Facts::default()
        };
        let (text, unknown) = facts.text(
            "%{http_code} %{content_type}|%header{Content-Type}\\n%{size_download}%% %{scheme} %{nothing}%x\\q%",
        );
        assert_eq!(text, "204 a/b|a/b\n7% HTTPS %x\\q%");
        assert_eq!(unknown, ["nothing"]);
    }
}
