//! `lambda_get [--json TEXT | --file FILE | --in NAME] [--array | --map] VAR PATH ...`: fields of the event, or of other
//! JSON, into variables. With a path alone it prints, as `jq -r -c` does.

use crate::document::{Children, Document};
use crate::options::{Arguments, Input};
use crate::path::evaluate::evaluate;
use crate::path::missing::{Failure, Place};
use crate::path::node::Node;
use crate::path::parser::{ParseError, parse};
use crate::path::value::present;
use crate::path::{Filter, lexer};
use crate::shape::{Shape, shaped};
use crate::{Answer, Call, CallError, Caller, Reply, Variable, check_name};

/// What jq has to do for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// What is done already.
    reply: Reply,
    pub filters: Vec<JqFilter>,
    /// The text that the filters are for; `None` if it is the event.
    pub document: Option<Vec<u8>>,
}

/// A filter that is more than a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JqFilter {
    pub filter: String,
    /// Where its values go; `None` if they are printed.
    variable: Option<String>,
    shape: Shape,
}

/// Whether an argument of `lambda_get` is a filter that is more than a path.
pub fn needs_jq(argument: &[u8]) -> bool {
    let text = str::from_utf8(argument).ok();
    // A name or a plain path is none, nor is an option.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._[]".contains(&byte);
    let text = text.filter(|text| !text.starts_with('-') && !text.bytes().all(is_plain));
    text.is_some_and(|text| matches!(parse(text), Err(ParseError::NeedsJq)))
}

struct Wanted<'a> {
    variable: Option<&'a str>,
    shape: Shape,
    path: &'a str,
}

pub(crate) fn answer(call: &Call<'_>, caller: &dyn Caller) -> Result<Answer, CallError> {
    let mut arguments = Arguments::of(call);
    let (input, wanted) = read_arguments(&mut arguments)?;
    let given = input.read(call, caller)?;
    let document: &Document<'_> = match &given {
        Some(document) => document,
        None => caller
            .event()
            .map_err(|cause| CallError::failure(format!("cannot read the event: {cause}")))?,
    };
    let mut reply = Reply::default();
    let mut filters = Vec::new();
    for Wanted {
        variable,
        shape,
        path,
    } in wanted
    {
        match parse(path) {
            Ok(filter) => {
                let fails = |cause: String| CallError::failure(failure(path, input, &cause));
                let value = found(&filter, document, shape).map_err(fails)?;
                reply.add(variable, value)?;
            }
            Err(ParseError::NeedsJq) => {
                check_dot(path, document)?;
                filters.push(JqFilter {
                    filter: path.to_owned(),
                    variable: variable.map(str::to_owned),
                    shape,
                });
            }
            Err(ParseError::Syntax(mistake)) => {
                let before = path.get(..mistake.at).unwrap_or_default();
                let column = before.chars().count() + 1;
                return Err(CallError::usage(format!(
                    "cannot read {path}: at column {column}: {}",
                    mistake.message
                )));
            }
        }
    }
    if filters.is_empty() {
        return Ok(Answer::Reply(reply));
    }
    let document = given.map(|document| document.text().as_bytes().to_vec());
    Ok(Answer::NeedsJq(Pending {
        reply,
        filters,
        document,
    }))
}

fn read_arguments<'a>(
    arguments: &mut Arguments<'a>,
) -> Result<(Input<'a>, Vec<Wanted<'a>>), CallError> {
    let mut input = Input::Event;
    let (mut wanted, mut shape) = (Vec::new(), Shape::Text);
    while let Some(argument) = arguments.next() {
        if !argument.starts_with(b"-") {
            let path = match arguments.next() {
                Some(path) => path,
                None if wanted.is_empty() && shape != Shape::Map => {
                    let path = utf8(argument, arguments)?;
                    let variable = None;
                    wanted.push(Wanted {
                        variable,
                        shape,
                        path,
                    });
                    break;
                }
                None => {
                    // It may be a secret.
                    return Err(arguments.misuse("the last argument has no path behind it"));
                }
            };
            wanted.push(Wanted {
                variable: Some(check_name(argument)?),
                shape,
                path: utf8(path, arguments)?,
            });
            shape = Shape::Text;
            continue;
        }
        match argument {
            b"--array" => shape = Shape::Array,
            b"--map" => shape = Shape::Map,
            _ => {
                let known = || format!("{}, --array and --map", Input::OPTIONS);
                let named = Input::named(argument, arguments)?;
                input = named.ok_or_else(|| arguments.unknown(argument, &known()))?;
            }
        }
    }
    if wanted.is_empty() {
        return Err(arguments.misuse("expected VAR PATH, or PATH alone"));
    }
    Ok((input, wanted))
}

fn utf8<'a>(path: &'a [u8], arguments: &Arguments<'_>) -> Result<&'a str, CallError> {
    str::from_utf8(path).map_err(|_| arguments.misuse("a path is not UTF-8"))
}

fn failure(path: &str, input: Input<'_>, cause: &str) -> String {
    match input {
        Input::Event => format!("cannot read {path}: {cause}"),
        other => format!("cannot read {path} of {}: {cause}", other.describe()),
    }
}

/// `Records[0]` is jq, too: a function that nobody defines.
fn check_dot(path: &str, document: &Document<'_>) -> Result<(), CallError> {
    let path = path.trim_ascii();
    let name = lexer::word(path);
    let behind = path.get(name.len()..).unwrap_or_default();
    let is_path = !name.is_empty() && (behind.is_empty() || behind.starts_with(['.', '[']));
    let children = document.children(document.root());
    match children.as_deref() {
        Some(Children::Object(members)) if is_path && document.member(members, name).is_some() => {
            let cause = format!("a path begins with a dot: .{path}");
            Err(CallError::usage(format!("cannot read {path}: {cause}")))
        }
        _ => Ok(()),
    }
}

/// What a filter of ours gives.
fn found(filter: &Filter, document: &Document<'_>, shape: Shape) -> Result<Variable, String> {
    let describe = |failure: Failure<'_>| failure.describe(filter);
    let values = evaluate(filter, document).map_err(describe)?;
    shaped(values, shape, filter.iterates(), &filter.text, &describe)
}

impl Reply {
    /// Assigns a value, or prints it, each text on a line of its own.
    fn add(&mut self, variable: Option<&str>, value: Variable) -> Result<(), CallError> {
        if let Some(name) = variable {
            value.check(name)?;
            self.assignments.push((name.to_owned(), value));
            return Ok(());
        }
        let texts = match value {
            Variable::Text(text) => vec![text],
            Variable::List(texts) => texts,
            Variable::Map(_) | Variable::File(_) => Vec::new(),
        };
        for text in texts {
            self.output.extend_from_slice(&text);
            self.output.push(b'\n');
        }
        Ok(())
    }
}

impl Pending {
    /// The reply, from what jq gave: for each filter its values, as JSON.
    ///
    /// # Errors
    /// A value is null, or of a shape that the variable cannot take.
    pub fn finish(self, values: &[Vec<Vec<u8>>]) -> Result<Reply, CallError> {
        let mut reply = self.reply;
        for (number, wanted) in self.filters.iter().enumerate() {
            let filter = &wanted.filter;
            let fails = |cause| CallError::failure(format!("cannot read {filter}: {cause}"));
            let texts = values.get(number).map(Vec::as_slice).unwrap_or_default();
            let documents = texts.iter().map(|text| Document::borrowed(text));
            let documents = documents.collect::<Result<Vec<_>, _>>();
            let documents =
                documents.map_err(|error| fails(format!("jq gave no JSON: {error}")))?;
            let nowhere = Place {
                stage: 0,
                operand: 0,
                steps: None,
            };
            let value = |document| present(Node::root(document), nowhere, false);
            let values = documents.iter().map(value).collect();
            let describe = |_: Failure<'_>| "it gives null".to_owned();
            let value = shaped(values, wanted.shape, false, filter, &describe).map_err(fails)?;
            reply.add(wanted.variable.as_deref(), value)?;
        }
        Ok(reply)
    }
}
