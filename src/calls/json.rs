//! `lambda_json [-v VAR] NAME=TEXT NAME:=JSON NAME@=FILE NAME@:=FILE ...`: JSON that is right whatever the texts hold.
//!
//! The words are those of `HTTPie`. `NAME=@FILE` is not: who can choose the text would choose a file to read, so that the `@`
//! stands with the name. A backslash in a name takes `.`, `=`, `:`, `@`, `[` and `\` for themselves.

mod tree;

use crate::document::string::quote;
use crate::options::Arguments;
use crate::{Call, CallError, Caller, Document, Reply, Source, Variable, check_name};

use tree::Tree;

const OPTIONS: &str = "-v VAR, --array and --quote";

enum Form {
    Object,
    /// `--array`: each argument is a text.
    Array,
    /// `--quote`: the argument is the text.
    Quote,
}

pub(crate) fn answer(call: &Call<'_>, caller: &dyn Caller) -> Result<Reply, CallError> {
    let mut arguments = Arguments::of(call);
    let (mut variable, mut form) = (None, Form::Object);
    let mut items: Vec<&[u8]> = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument {
            b"-v" => variable = Some(check_name(arguments.value("-v", "the name")?)?),
            b"--array" => form = Form::Array,
            b"--quote" => form = Form::Quote,
            b"--" => break,
            _ if argument.starts_with(b"-") && items.is_empty() => {
                return Err(arguments.unknown(argument, OPTIONS));
            }
            _ => items.push(argument),
        }
        if !matches!(form, Form::Object) && argument != b"-v" {
            break;
        }
    }
    while let Some(argument) = arguments.next() {
        items.push(argument);
    }
    let json = match (form, items.as_slice()) {
        (Form::Object, _) => object(&items, caller)?,
        (Form::Array, _) => {
            let quoted = items.iter().map(|item| Ok(quote(text(item, "the text")?)));
            let quoted: Vec<_> = quoted.collect::<Result<_, CallError>>()?;
            format!("[{}]", quoted.join(","))
        }
        (Form::Quote, [item]) => quote(text(item, "the text")?),
        (Form::Quote, _) => return Err(arguments.misuse("--quote: expected one text")),
    };
    Reply::line(variable, json.into_bytes())
}

fn object(items: &[&[u8]], caller: &dyn Caller) -> Result<String, CallError> {
    let mut root = Tree::Unknown;
    for item in items {
        let item = Item::read(item)?;
        let value = item.value(caller)?;
        root.insert(item.name, value)?;
    }
    Ok(root.into_json())
}

/// One `NAME=VALUE`.
struct Item<'a> {
    /// As it was written.
    name: &'a str,
    value: &'a [u8],
    is_raw: bool,
    is_file: bool,
}

impl<'a> Item<'a> {
    fn read(item: &'a [u8]) -> Result<Self, CallError> {
        let mut at = 0;
        loop {
            match item.get(at) {
                Some(b'\\') => at += 2,
                Some(b'=') => break,
                Some(_) => at += 1,
                None => {
                    // It may be a secret.
                    return Err(CallError::usage(
                        "cannot use an argument without =: expected NAME=TEXT or NAME:=JSON",
                    ));
                }
            }
        }
        let (name, value) = item.split_at(at);
        let value = value.get(1..).unwrap_or_default();
        let mut name = text(name, "the name")?;
        let mut take = |mark: char| {
            let shorter = name.strip_suffix(mark);
            let slashes = |text: &str| text.len() - text.trim_end_matches('\\').len();
            // A backslash before it makes it a part of the name.
            let shorter = shorter.filter(|shorter| slashes(shorter) % 2 == 0);
            name = shorter.unwrap_or(name);
            shorter.is_some()
        };
        // In either order.
        let mut is_raw = take(':');
        let is_file = take('@');
        is_raw |= take(':');
        Ok(Self {
            name,
            value,
            is_raw,
            is_file,
        })
    }

    /// The value as JSON.
    fn value(&self, caller: &dyn Caller) -> Result<String, CallError> {
        let name = self.name;
        let read;
        let value = if self.is_file {
            let source = match self.value {
                b"-" => Source::StandardInput,
                file => Source::File(file),
            };
            let file = String::from_utf8_lossy(self.value);
            read = caller.read(source).map_err(|cause| {
                CallError::failure(format!("cannot read file {file} for {name}: {cause}"))
            })?;
            &read
        } else {
            self.value
        };
        if !self.is_raw {
            return Ok(quote(text(value, &format!("the value of {name}"))?));
        }
        let document = Document::borrowed(value).map_err(|error| {
            CallError::failure(format!(
                "cannot use the value of {name}: it is not JSON: {error}"
            ))
        })?;
        Ok(document.compact(document.root()))
    }
}

fn text<'a>(bytes: &'a [u8], what: &str) -> Result<&'a str, CallError> {
    str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to() + 1;
        CallError::failure(format!("cannot use {what}: invalid UTF-8 at byte {at}"))
    })
}

impl Reply {
    /// A text for a variable, or as a line of output.
    pub(crate) fn line(variable: Option<&str>, text: Vec<u8>) -> Result<Self, CallError> {
        let mut reply = Self::default();
        if let Some(name) = variable {
            let text = Variable::Text(text);
            text.check(name)?;
            reply.assignments.push((name.to_owned(), text));
        } else {
            reply.output = text;
            reply.output.push(b'\n');
        }
        Ok(reply)
    }
}
