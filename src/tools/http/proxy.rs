//! Which proxy a request goes through, by the variables that curl and the SDKs know.

/// The proxy for a URL. `variable` finds variables of the caller that are not empty.
pub(crate) fn proxy_for<'a>(
    url: &str,
    variable: impl Fn(&str) -> Option<&'a str>,
) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    // HTTP_PROXY in capitals may come from the header of a request to a CGI script, so that nobody heeds it.
    let names: &[&str] = match scheme {
        "https" => &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        _ => &["http_proxy", "all_proxy", "ALL_PROXY"],
    };
    let proxy = names.iter().find_map(|name| variable(name))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let exceptions = ["no_proxy", "NO_PROXY"].into_iter().find_map(&variable);
    let is_excepted = exceptions.is_some_and(|list| {
        list.split([',', ' '])
            .map(|entry| entry.trim().trim_start_matches('.'))
            .filter(|entry| !entry.is_empty())
            .any(|entry| {
                let rest = host
                    .len()
                    .checked_sub(entry.len())
                    .filter(|at| host.is_char_boundary(*at))
                    .map(|at| host.split_at(at));
                entry == "*"
                    || rest.is_some_and(|(before, end)| {
                        end.eq_ignore_ascii_case(entry)
                            && (before.is_empty() || before.ends_with('.'))
                    })
            })
    });
    (!is_excepted).then(|| proxy.to_owned())
}

#[cfg(test)]
mod tests {
    use super::proxy_for;

    fn proxy(url: &str, variables: &[(&str, &'static str)]) -> Option<String> {
        proxy_for(url, |name| {
            let mut variables = variables.iter();
            variables
                .find(|(variable, _)| *variable == name)
                .map(|(_, value)| *value)
        })
    }

    #[test]
    fn proxy_is_that_of_the_scheme_but_for_exceptions() {
        let all = [
            ("https_proxy", "http://s:1"),
            ("http_proxy", "http://p:2"),
            ("no_proxy", "localhost, .example.org,10.0.0.1"),
        ];
        assert_eq!(
            proxy("https://a.test/x", &all).as_deref(),
            Some("http://s:1")
        );
        assert_eq!(
            proxy("http://a.test:80/x", &all).as_deref(),
            Some("http://p:2")
        );
        for excepted in [
            "http://localhost:5000/",
            "https://example.org",
            "https://www.EXAMPLE.org/a",
            "http://10.0.0.1/",
        ] {
            assert_eq!(proxy(excepted, &all), None, "{excepted}");
        }
        assert!(proxy("https://notexample.org", &all).is_some());
        assert_eq!(proxy("http://a", &[("HTTP_PROXY", "http://p")]), None);
        assert_eq!(
            proxy("http://a", &[("http_proxy", "http://p"), ("no_proxy", "*")]),
            None
        );
    }
}
