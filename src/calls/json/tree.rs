//! The object that `lambda_json` puts together.

use crate::CallError;
use crate::document::string::quote_into;

/// Deeper than anyone writes, and shallow enough to recurse.
const DEEPEST: usize = 100;

pub(super) enum Tree {
    /// What nothing was put into yet.
    Unknown,
    /// JSON.
    Value(String),
    Object(Vec<(String, Tree)>),
    Array(Vec<String>),
}

impl Tree {
    /// Puts a value, which is JSON, where `name` says: `a.b` or `a.b[]`.
    pub(super) fn insert(&mut self, name: &str, value: String) -> Result<(), CallError> {
        let fails = |cause: &str| CallError::usage(format!("cannot set {name}: {cause}"));
        let (parts, is_append) = split(name).map_err(|cause| fails(&cause))?;
        if parts.len() > DEEPEST {
            return Err(fails("it has more than 100 parts"));
        }
        let mut place = self;
        for part in parts {
            if matches!(place, Self::Unknown) {
                *place = Self::Object(Vec::new());
            }
            let Self::Object(members) = place else {
                return Err(fails(&format!(
                    "what has {part} is {} already",
                    place.kind()
                )));
            };
            let known = members.iter().position(|(known, _)| *known == part);
            let at = known.unwrap_or(members.len());
            if known.is_none() {
                members.push((part, Self::Unknown));
            }
            let Some((_, member)) = members.get_mut(at) else {
                return Ok(());
            };
            place = member;
        }
        match place {
            Self::Unknown if is_append => *place = Self::Array(vec![value]),
            Self::Unknown => *place = Self::Value(value),
            Self::Array(values) if is_append => values.push(value),
            _ => return Err(fails(&format!("it is {} already", place.kind()))),
        }
        Ok(())
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Unknown => "nothing",
            Self::Value(_) => "a value",
            Self::Object(_) => "an object",
            Self::Array(_) => "an array",
        }
    }

    pub(super) fn into_json(self) -> String {
        let mut json = String::new();
        self.write(&mut json);
        json
    }

    fn write(&self, json: &mut String) {
        match self {
            Self::Unknown => json.push_str("{}"),
            Self::Value(value) => json.push_str(value),
            Self::Array(values) => {
                json.push('[');
                json.push_str(&values.join(","));
                json.push(']');
            }
            Self::Object(members) => {
                for (number, (name, member)) in members.iter().enumerate() {
                    json.push(if number == 0 { '{' } else { ',' });
                    quote_into(json, name);
                    json.push(':');
                    member.write(json);
                }
                json.push('}');
            }
        }
    }
}

/// The parts of a name, and whether `[]` is at its end. The name may be `[]` alone.
fn split(name: &str) -> Result<(Vec<String>, bool), String> {
    if name == "[]" {
        return Ok((Vec::new(), true));
    }
    let (mut parts, mut part) = (Vec::new(), String::new());
    let mut is_append = false;
    let mut letters = name.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some(next @ ('.' | '=' | ':' | '@' | '[' | ']' | '\\')) => part.push(next),
                _ => return Err("a backslash is before . = : @ [ ] or another one only".to_owned()),
            },
            '.' => parts.push(std::mem::take(&mut part)),
            '[' if letters.as_str() == "]" => {
                is_append = true;
                break;
            }
            '[' => return Err("a name has [] at its end only; write \\[ for a bracket".to_owned()),
            _ => part.push(letter),
        }
    }
    parts.push(part);
    if parts.iter().any(String::is_empty) {
        return Err("a part of the name is empty".to_owned());
    }
    Ok((parts, is_append))
}
