//! The qualifier of a call: the version or alias in the query, or at the end of the function's name.
//!
//! A name is `any`, `123456789012:function:any` or a whole ARN. Each of them may end in `:live`:
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_RequestSyntax>.

use axum::http::Uri;

/// `live` from `/2015-03-31/functions/any/invocations?Qualifier=live`, and from
/// `/2015-03-31/functions/any:live/invocations`.
pub(crate) fn find_qualifier(uri: &Uri) -> Option<String> {
    let query = uri.query().unwrap_or_default();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    if let Some((_, value)) = pairs.find(|(name, _)| name == "Qualifier") {
        return Some(value.into_owned());
    }
    let name = uri.path().split('/').nth(3)?;
    // The SDKs percent-encode the colons.
    let (name, _) = form_urlencoded::parse(name.as_bytes()).next()?;
    let last = name.rsplit_once(":function:").map(|(_, last)| last);
    let (_, qualifier) = last.unwrap_or(&name).split_once(':')?;
    Some(qualifier.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, query: &str) -> Option<String> {
        let uri = format!("/2015-03-31/functions/{name}/invocations{query}");
        uri.parse().ok().and_then(|uri| find_qualifier(&uri))
    }

    #[test]
    fn every_form_of_name_may_end_in_a_qualifier() {
        let arn = "arn:aws:lambda:eu-north-1:123456789012:function:any";
        for name in ["any", "123456789012:function:any", arn] {
            assert_eq!(found(name, ""), None);
            assert_eq!(found(&format!("{name}:live"), ""), Some("live".to_owned()));
        }
        assert_eq!(found("any%3A%24LATEST", "?a=b"), Some("$LATEST".to_owned()));
    }

    #[test]
    fn qualifier_in_the_query_wins() {
        assert_eq!(found("any", "?a=b&Qualifier=7"), Some("7".to_owned()));
        assert_eq!(found("any:live", "?Qualifier=7"), Some("7".to_owned()));
    }
}
