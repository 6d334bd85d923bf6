//! Filters, compiled once and kept.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;

use jaq_core::box_iter::box_once;
use jaq_core::data::HasLut;
use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Term};
use jaq_core::load::{Arena, Errors, File, Loader, lex};
use jaq_core::native::{self, Fun, bome, v};
use jaq_core::{Compiler, DataT, Error, Exn, Lut};
use jaq_json::Val;
use jaq_std::ValT as _;
use jaq_std::input::{HasInputs, Inputs};

use super::alternatives::Alternatives;
use super::escapes::without_surrogates;
use super::message::{described, in_words_of_jq};
use super::surroundings::Surroundings;
use super::write::Style;
use super::{encoding, paths, rewrite, times};

/// The number of filters that are kept.
const MOST_KEPT: usize = 64;
/// Brackets in each other in the text of a filter.
const MAX_NESTING: usize = 1000;
/// The function that a filter becomes.
const MAIN: &str = "_main";
/// Functions of ours, which take the place of jaq's of the same name.
const OURS: &[&str] = &["env", "debug_empty", "stderr_empty", "tojson"];

pub(crate) type Filter = jaq_core::Filter<Kind>;

/// The data that filters work on.
pub(crate) struct Kind;

impl DataT for Kind {
    type V<'a> = Val;
    type Data<'a> = Data<'a>;
}

#[derive(Clone)]
pub(crate) struct Data<'a> {
    pub lut: &'a Lut<Kind>,
    pub inputs: Inputs<'a, Val>,
    pub surroundings: &'a Surroundings,
}

impl<'a> HasLut<'a, Kind> for Data<'a> {
    fn lut(&self) -> &'a Lut<Kind> {
        self.lut
    }
}

impl<'a> HasInputs<'a, Val> for Data<'a> {
    fn inputs(&self) -> Inputs<'a, Val> {
        self.inputs
    }
}

/// The filters that were compiled last.
#[derive(Default)]
pub(crate) struct Compiled {
    kept: VecDeque<(String, Vec<String>, Rc<Filter>)>,
}

impl Compiled {
    /// The filter with this text and these variables.
    ///
    /// # Errors
    /// What is wrong with the text, in one line for each mistake.
    pub(crate) fn get(
        &mut self,
        text: &str,
        variables: &[&str],
        library: &[PathBuf],
    ) -> Result<Rc<Filter>, Vec<String>> {
        let is_same = |(known, names, _): &(String, Vec<String>, _)| {
            known == text && names.iter().eq(variables)
        };
        if library.is_empty()
            && let Some(at) = self.kept.iter().position(is_same)
            && let Some(found) = self.kept.remove(at)
        {
            let filter = Rc::clone(&found.2);
            self.kept.push_back(found);
            return Ok(filter);
        }
        let filter = Rc::new(compile(text, variables, library)?);
        if library.is_empty() {
            let names = variables.iter().map(|name| (*name).to_owned()).collect();
            self.kept
                .push_back((text.to_owned(), names, Rc::clone(&filter)));
            if self.kept.len() > MOST_KEPT {
                self.kept.pop_front();
            }
        }
        Ok(filter)
    }
}

fn compile(text: &str, variables: &[&str], library: &[PathBuf]) -> Result<Filter, Vec<String>> {
    if nesting(text) > MAX_NESTING {
        return Err(vec!["the filter nests too deeply".to_owned()]);
    }
    let ours = jaq_core::load::parse(include_str!("definitions.jq"), |parser| parser.defs());
    let ours = ours.unwrap_or_default();
    let definitions = jaq_core::defs()
        .chain(jaq_std::defs())
        .chain(jaq_json::defs())
        .chain(ours);
    let given: Vec<Def<&str>> = definitions.collect();
    let names = text.contains("builtins").then(|| names_of(&given));
    let text = &*without_surrogates(text);
    let arena = Arena::default();
    let mut code = if text.trim().is_empty() { "." } else { text };
    let alternatives = Alternatives::find(code);
    let mut definitions = given;
    // A text with modules, or with a mistake, is left to the loader.
    let term = jaq_core::load::parse(&alternatives.text, |parser| parser.term());
    let body = term.and_then(|term| rewrite::rewrite(&alternatives, term));
    let main = body.map(|body| Def {
        name: MAIN,
        args: Vec::new(),
        body,
    });
    definitions.extend(names.iter().map(|names| Def {
        name: "builtins",
        args: Vec::new(),
        body: list(names),
    }));
    if main.is_some() {
        code = MAIN;
    }
    definitions.extend(main);
    let loader = Loader::new(definitions).with_std_read(library);
    let file = File {
        code,
        path: PathBuf::new(),
    };
    let modules = loader.load(&arena, file).map_err(load_errors)?;
    let funs = jaq_core::funs()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs());
    let funs = funs.filter(|(name, ..)| !OURS.contains(name));
    let funs = funs.chain(
        jaq_std::input::funs()
            .into_vec()
            .into_iter()
            .map(native::run),
    );
    Compiler::default()
        .with_funs(funs.chain(functions()))
        .with_global_vars(variables.iter().copied())
        .compile(modules)
        .map_err(compile_errors)
}

/// The functions that a filter can call, as `name/2`.
fn names_of(definitions: &[Def<&str>]) -> Vec<String> {
    let defined = definitions.iter().map(|one| (one.name, one.args.len()));
    let funs = jaq_core::funs::<Kind>()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs())
        .map(|(name, arguments, _)| (name, arguments.len()));
    let is_public = |(name, _): &(&str, usize)| !name.starts_with(['_', '!', '@', '$']);
    let names = defined.chain(funs).filter(is_public);
    let names: BTreeSet<_> = names
        .map(|(name, count)| format!("{name}/{count}"))
        .collect();
    names.into_iter().collect()
}

/// The filter that gives a list of these texts.
fn list(texts: &[String]) -> Term<&str> {
    let text = |text| Term::Str(None, vec![StrPart::Str(text)]);
    let texts = texts.iter().map(|one| text(one.as_str()));
    let comma = |left: Term<_>, right| Term::BinOp(left.into(), BinaryOp::Comma, Box::new(right));
    Term::Arr(texts.reduce(comma).map(Box::new))
}

/// How deep the brackets of a text nest, those in its strings counted, too.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn load_errors(errors: Errors<&str, PathBuf>) -> Vec<String> {
    let mut messages = Vec::new();
    for (file, error) in errors {
        match error {
            jaq_core::load::Error::Io(errors) => {
                let message =
                    |(path, cause): (&str, String)| format!("cannot load {path}: {cause}");
                messages.extend(errors.into_iter().map(message));
            }
            jaq_core::load::Error::Lex(errors) => {
                for (expected, found) in errors {
                    let expected: &lex::Expect<&str> = &expected;
                    messages.push(unexpected(expected.as_str(), found, file.code));
                }
            }
            jaq_core::load::Error::Parse(errors) => {
                for (expected, found) in errors {
                    messages.push(unexpected(expected.as_str(), found, file.code));
                }
            }
        }
    }
    messages
}

fn unexpected(expected: &str, found: &str, code: &str) -> String {
    let found = match found.char_indices().nth(20) {
        Some((end, _)) => &found[..end],
        None => found,
    };
    if found.is_empty() {
        return format!("syntax error: expected {expected} at the end of {code}");
    }
    let at = (found.as_ptr() as usize).checked_sub(code.as_ptr() as usize);
    match at.and_then(|at| code.get(..at)) {
        Some(before) => {
            let column = before
                .chars()
                .rev()
                .take_while(|letter| *letter != '\n')
                .count()
                + 1;
            let line = before.matches('\n').count() + 1;
            format!(
                "syntax error: expected {expected}, found {found} at line {line}, column {column}"
            )
        }
        None => format!("syntax error: expected {expected}, found {found}"),
    }
}

fn compile_errors(errors: jaq_core::compile::Errors<&str, PathBuf>) -> Vec<String> {
    let undefined = |(name, kind): (&str, jaq_core::compile::Undefined)| match kind {
        jaq_core::compile::Undefined::Filter(arity) => format!("{name}/{arity} is not defined"),
        kind => format!("{} {name} is not defined", kind.as_str()),
    };
    errors
        .into_iter()
        .flat_map(|(_, errors)| errors)
        .map(undefined)
        .collect()
}

fn functions() -> impl Iterator<Item = Fun<Kind>> {
    let functions: Vec<native::Filter<jaq_core::RunPtr<Kind>>> = vec![
        ("env", v(0), |cv| {
            box_once(Ok(cv.0.data().surroundings.environment.clone()))
        }),
        ("debug_empty", v(0), |cv| {
            let mut line = b"[\"DEBUG:\",".to_vec();
            Style::compact().write(&mut line, &cv.1);
            line.extend_from_slice(b"]\n");
            cv.0.data().surroundings.write_error(&line);
            Box::new(std::iter::empty())
        }),
        ("stderr_empty", v(0), |cv| {
            let mut text = Vec::new();
            match &cv.1 {
                Val::TStr(bytes) => text.extend_from_slice(bytes),
                value => Style::compact().write(&mut text, value),
            }
            cv.0.data().surroundings.write_error(&text);
            Box::new(std::iter::empty())
        }),
        ("tojson", v(0), |cv| {
            let mut text = Vec::new();
            Style::compact().write(&mut text, &cv.1);
            box_once(Ok(Val::utf8_str(text)))
        }),
        ("input_filename", v(0), |cv| {
            let name = cv.0.data().surroundings.file_name.borrow().clone();
            box_once(Ok(name.map_or(Val::Null, Val::from)))
        }),
        ("input_line_number", v(0), |cv| {
            box_once(Ok(Val::from(cv.0.data().surroundings.lines.get())))
        }),
        ("_fromjson", v(0), |cv| bome(from_json(&cv.1))),
        ("_tonumber", v(0), |cv| bome(to_number(cv.1))),
        ("_message", v(0), |cv| {
            box_once(Ok(match &cv.1 {
                Val::TStr(text) => Val::from(in_words_of_jq(&String::from_utf8_lossy(text))),
                value => value.clone(),
            }))
        }),
        ("_described", v(0), |cv| {
            box_once(Ok(Val::from(described(&cv.1))))
        }),
        ("_floor", v(0), |cv| box_once(Ok(whole(&cv.1, f64::floor)))),
        ("_ceiling", v(0), |cv| box_once(Ok(whole(&cv.1, f64::ceil)))),
        ("_setpath", v(2), |mut cv| {
            let value = cv.0.pop_var();
            let path = cv.0.pop_var();
            bome(match &path {
                Val::Arr(path) => paths::set(cv.1, path, value),
                _ => Err(Error::str("Path must be specified as an array")),
            })
        }),
        ("_delpaths", v(1), |mut cv| {
            let paths = cv.0.pop_var();
            bome(paths::remove(cv.1, &paths))
        }),
        ("_input", v(0), |cv| {
            let mut inputs = cv.0.data().inputs;
            let next = inputs.next();
            bome(
                next.unwrap_or_else(|| Err("No more inputs".to_owned()))
                    .map_err(Error::str),
            )
        }),
        ("_base64d", v(0), |cv| {
            bome(encoding::decoded(&cv.1, encoding::from_base64))
        }),
        ("_base32", v(0), |cv| {
            bome(encoding::decoded(&cv.1, |text| {
                Some(encoding::to_base32(text))
            }))
        }),
        ("_base32d", v(0), |cv| {
            bome(encoding::decoded(&cv.1, encoding::from_base32))
        }),
        ("_local_offset", v(0), |cv| {
            bome(times::offset(&cv.1, &cv.0.data().surroundings.local_time))
        }),
        ("_local_text", v(1), |mut cv| {
            let format = cv.0.pop_var();
            let local_time = &cv.0.data().surroundings.local_time;
            bome(times::text(&cv.1, &format, local_time))
        }),
    ];
    functions.into_iter().map(native::run::<Kind>)
}

fn from_json(value: &Val) -> Result<Val, Error<Val>> {
    let Val::TStr(text) = value else {
        return Err(Error::typ(value.clone(), "string"));
    };
    super::parse::parse(text).map_err(|error| {
        Error::str(format!(
            "{} (while parsing '{}')",
            error.what,
            String::from_utf8_lossy(text)
        ))
    })
}

fn to_number(value: Val) -> Result<Val, Error<Val>> {
    let number = match &value {
        Val::Num(_) => return Ok(value),
        Val::TStr(text) => str::from_utf8(text).ok().and_then(super::parse::number),
        _ => None,
    };
    number.map(Val::Num).ok_or_else(|| {
        Error::str(format!(
            "{} cannot be parsed as a number",
            described(&value)
        ))
    })
}

/// A number without its fraction.
#[allow(clippy::cast_possible_truncation)]
fn whole(value: &Val, round: fn(f64) -> f64) -> Val {
    if value.is_int() {
        return value.clone();
    }
    let number = value.as_f64().map(round);
    let number = number.filter(|number| number.is_finite());
    number.map_or(Val::Null, |number| Val::from(number as isize))
}

/// What an error is about, as jq prints it.
pub(crate) fn describe(error: Error<Val>) -> String {
    match error.into_val() {
        Val::TStr(text) => format!(": {}", in_words_of_jq(&String::from_utf8_lossy(&text))),
        value => {
            let mut text = Vec::new();
            Style::compact().write(&mut text, &value);
            format!(" (not a string): {}", String::from_utf8_lossy(&text))
        }
    }
}

/// An exception that ends a filter.
pub(crate) enum Failure {
    Error(Error<Val>),
    Halt(i32),
}

impl From<Exn<'_, Val>> for Failure {
    fn from(exception: Exn<'_, Val>) -> Self {
        match exception.get_err() {
            Ok(error) => Self::Error(error),
            Err(other) => Self::Halt(other.get_halt().unwrap_or(5)),
        }
    }
}

pub(crate) fn is_true(value: &Val) -> bool {
    !matches!(value, Val::Null | Val::Bool(false))
}
