//! Results that come in pages: which to get, and how they become one. A token of a page that is cut is the AWS CLI's own, so
//! that either continues where the other stopped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::arguments::Paging;
use super::failure::Failure;
use super::output::json;
use super::search::Expression;
use super::table::{Kind, Operation, Pages};
use super::value::Value;

/// How many items of a page were taken, in a token.
const TRUNCATED: &str = "boto_truncate_amount";

/// The pages of a result.
#[derive(Debug)]
pub(crate) struct Collected {
    pub pages: Vec<Value>,
    /// What comes from the first page alone.
    pub once: Value,
    /// Where the rest begins, if there is more.
    pub next_token: Option<String>,
}

/// Gets the pages that are wanted. `get` sends one request.
pub(crate) fn collect(
    operation: &Operation,
    pages: &Pages,
    paging: &Paging,
    mut parameters: Value,
    mut get: impl FnMut(&Value) -> Result<Value, Failure>,
) -> Result<Collected, Failure> {
    let expressions = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| Expression::parse(text))
            .collect::<Result<Vec<_>, _>>()
    };
    let output_tokens = expressions(&pages.output_tokens)?;
    let more = pages.more.map(Expression::parse).transpose()?;
    let first_result = pages.results.first().copied().unwrap_or_default();
    let mut collected = Collected {
        pages: Vec::new(),
        once: Value::Map(Vec::new()),
        next_token: None,
    };
    let mut skipped = 0;
    if let Some(token) = &paging.starting_token {
        skipped = inject_starting_token(pages, token, &mut parameters)?;
    }
    if let (Some(limit), Some(size)) = (pages.limit, paging.page_size) {
        let is_text = operation
            .input
            .member(limit)
            .is_some_and(|member| matches!(member.shape.kind, Kind::String));
        let size = if is_text {
            Value::Text(size.to_string())
        } else {
            Value::Integer(size)
        };
        parameters.set(limit, size);
    }
    let mut tokens: Vec<Value> = pages
        .input_tokens
        .iter()
        .map(|name| parameters.get(name).cloned().unwrap_or_default())
        .collect();
    let mut taken = 0;
    loop {
        let mut page = get(&parameters)?;
        let is_first = collected.pages.is_empty();
        if is_first {
            if paging.starting_token.is_some() {
                skip_start(&mut page, pages, skipped);
            }
            for key in &pages.once {
                let value = Expression::parse(key)?.search(&page)?;
                set_path(&mut collected.once, key, value);
            }
        } else {
            skipped = 0;
        }
        let count = get_path(&page, first_result).map_or(0, |value| value.elements().len());
        let surplus = paging
            .max_items
            .map_or(0, |most| (taken + count).saturating_sub(most));
        if surplus > 0 {
            let kept = count - surplus;
            if let Some(Value::List(elements)) = get_path_mut(&mut page, first_result) {
                elements.truncate(kept);
            }
            let amount = i128::try_from(kept + skipped).unwrap_or_default();
            collected.next_token = Some(encode_token(pages, &tokens, Some(amount)));
            collected.pages.push(page);
            return Ok(collected);
        }
        taken += count;
        let has_more = match &more {
            Some(more) => is_true(&more.search(&page)?),
            None => true,
        };
        let mut next = Vec::new();
        for token in output_tokens.iter().filter(|_| has_more) {
            let found = token.search(&page)?;
            next.push(if is_true(&found) { found } else { Value::Null });
        }
        collected.pages.push(page);
        if next.iter().all(|token| matches!(token, Value::Null)) {
            return Ok(collected);
        }
        if paging.max_items == Some(taken) {
            collected.next_token = Some(encode_token(pages, &next, None));
            return Ok(collected);
        }
        if !is_first && next == tokens {
            return Err(Failure::other(
                "Error during pagination: The same next token was received twice",
            ));
        }
        for (name, token) in pages.input_tokens.iter().zip(&next) {
            match token {
                Value::Null => drop(parameters.remove(name)),
                given => parameters.set(name, given.clone()),
            }
        }
        tokens = next;
    }
}

/// Makes one result of all pages.
pub(crate) fn join(pages: &Pages, collected: Collected) -> Value {
    let mut joined = Value::Map(Vec::new());
    for mut page in collected.pages {
        for path in &pages.results {
            let Some(value) = get_path_mut(&mut page, path).map(std::mem::take) else {
                continue;
            };
            match (get_path_mut(&mut joined, path), value) {
                (_, Value::Null) => {}
                (Some(Value::List(all)), Value::List(more)) => all.extend(more),
                (Some(Value::Integer(sum)), Value::Integer(more)) => *sum += more,
                (Some(Value::Text(all)), Value::Text(more)) => all.push_str(&more),
                (_, value) => set_path(&mut joined, path, value),
            }
        }
    }
    for (key, value) in collected.once.entries() {
        joined.set(key, value.clone());
    }
    if let Some(token) = collected.next_token {
        joined.set("NextToken", Value::Text(token));
    }
    joined
}

/// What the format text prints for each page: its results, and before the first what comes once.
pub(crate) fn separate(pages: &Pages, collected: Collected) -> Vec<Value> {
    let mut parts = Vec::new();
    for (at, page) in collected.pages.iter().enumerate() {
        let mut part = if at == 0 {
            collected.once.clone()
        } else {
            Value::Map(Vec::new())
        };
        for path in &pages.results {
            set_path(
                &mut part,
                path,
                get_path(page, path).cloned().unwrap_or_default(),
            );
        }
        parts.push(part);
    }
    if let Some(token) = collected.next_token {
        let token = Value::Map(vec![("NextToken".to_owned(), Value::Text(token))]);
        parts.push(Value::Map(vec![("NextToken".to_owned(), token)]));
    }
    parts
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) | Value::Integer(0) => false,
        Value::Text(text) => !text.is_empty(),
        Value::List(elements) => !elements.is_empty(),
        Value::Map(entries) => !entries.is_empty(),
        _ => true,
    }
}

/// The value at `A.B`.
fn get_path<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, key| value.get(key))
}

fn get_path_mut<'a>(value: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let mut at = value;
    for key in path.split('.') {
        let Value::Map(entries) = at else { return None };
        at = &mut entries.iter_mut().find(|(name, _)| name == key)?.1;
    }
    Some(at)
}

fn set_path(value: &mut Value, path: &str, new: Value) {
    match path.split_once('.') {
        Some((key, rest)) => {
            if let Some(inner) = value.entry(key, Value::Map(Vec::new())) {
                set_path(inner, rest, new);
            }
        }
        None => value.set(path, new),
    }
}

/// Drops the items that a cut page had given already. Other results of that page were given, too.
fn skip_start(page: &mut Value, pages: &Pages, skipped: usize) {
    for (at, path) in pages.results.iter().enumerate() {
        match get_path_mut(page, path) {
            Some(Value::List(elements)) if at == 0 => {
                drop(elements.drain(..skipped.min(elements.len())));
            }
            Some(Value::List(elements)) => elements.clear(),
            Some(Value::Text(text)) if at > 0 => text.clear(),
            Some(number @ (Value::Integer(_) | Value::Float(_))) if at > 0 => {
                *number = Value::Integer(0);
            }
            Some(_) | None => {}
        }
    }
}

/// A token is JSON in Base64: the parameters of the next request, and how many items of its page are known.
fn encode_token(pages: &Pages, tokens: &[Value], truncated: Option<i128>) -> String {
    let mut token = Value::Map(Vec::new());
    for (name, value) in pages.input_tokens.iter().zip(tokens) {
        token.set(name, value.clone());
    }
    if let Some(amount) = truncated {
        token.set(TRUNCATED, Value::Integer(amount));
    }
    STANDARD.encode(json::spaced(&token))
}

/// Puts a token into the parameters, and returns how many items to skip.
fn inject_starting_token(
    pages: &Pages,
    token: &str,
    parameters: &mut Value,
) -> Result<usize, Failure> {
    let decoded = STANDARD.decode(token).ok();
    let decoded = decoded.and_then(|json| Value::from_json(&json).ok());
    if let Some(Value::Map(entries)) = decoded {
        let mut skipped = 0;
        for (key, value) in entries {
            match (key.as_str(), value) {
                (TRUNCATED, Value::Integer(amount)) => {
                    skipped = usize::try_from(amount).unwrap_or_default();
                }
                (_, Value::Null) => {}
                (name, value) if pages.input_tokens.contains(&name) => parameters.set(name, value),
                _ => {}
            }
        }
        return Ok(skipped);
    }
    // The older form: the service's own tokens, parted by three underscores, and then how many items to skip.
    let mut parts: Vec<_> = token.split("___").collect();
    let mut skipped = 0;
    if parts.len() == pages.input_tokens.len() + 1 {
        let amount = parts.pop().and_then(|amount| amount.parse().ok());
        skipped = amount.ok_or_else(|| Failure::other(format!("Bad starting token: {token}")))?;
    }
    if parts.len() > pages.input_tokens.len() {
        return Err(Failure::other(format!("Bad starting token: {token}")));
    }
    for (name, part) in pages.input_tokens.iter().zip(parts) {
        if part != "None" {
            parameters.set(name, Value::text(part));
        }
    }
    Ok(skipped)
}
