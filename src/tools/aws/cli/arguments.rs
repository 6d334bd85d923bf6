//! The arguments of an operation, and the parameters that they make.

use super::customized;
use super::failure::Failure;
use super::files::Files;
use super::shorthand;
use super::table::{Kind, Member, Operation, Service, Shape};
use super::value::Value;
use super::words::{OptionWord, Takes, Words};

/// Which pages of a result are wanted.
#[derive(Debug, Default)]
pub(crate) struct Paging {
    pub starting_token: Option<String>,
    pub page_size: Option<i128>,
    pub max_items: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct Arguments {
    pub parameters: Value,
    /// The file that gets the body of the answer.
    pub output_file: Option<String>,
    /// `None`: the result is the one page that the service gives.
    pub paging: Option<Paging>,
}

/// The options that pages have, and where they are given.
const PAGING: [&str; 3] = ["starting-token", "page-size", "max-items"];

impl Arguments {
    /// Reads the words behind the operation.
    pub(crate) fn read(
        service: &Service,
        operation: &Operation,
        words: &[String],
        pages_are_off: bool,
        files: Files,
    ) -> Result<Self, Failure> {
        let custom = customized::arguments(service, operation);
        let mut words = Words::parse(&options(operation, &custom), words)?;
        if words.rest.first().is_some_and(|rest| rest.word == "help") {
            return Err(Failure::missing("help"));
        }
        if words.has("generate-cli-skeleton") || words.has("cli-input-yaml") {
            return Err(Failure::missing(
                "--generate-cli-skeleton, as --cli-input-yaml,",
            ));
        }
        let mut missing = Vec::new();
        let output_file = match operation.output_file() {
            Some(_) => {
                let file = words.take_first();
                if file.is_none() {
                    missing.push("outfile".to_owned());
                }
                file
            }
            None => None,
        };
        let input = words.value("cli-input-json").map(str::to_owned);
        for member in &operation.input.members {
            let argument = member.argument();
            let is_needed = member.is_required && !member.is_token && !custom.replaces(member.name);
            let is_given = words.has(&argument) || words.has(&member.negative_argument());
            if is_needed && !is_given && input.is_none() {
                missing.push(format!("--{argument}"));
            }
        }
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(Failure::usage_error(&format!(
                "the following arguments are required: {missing}"
            )));
        }
        if !words.rest.is_empty() {
            let rest: Vec<_> = words.rest.iter().map(|rest| rest.word.as_str()).collect();
            return Err(Failure::usage(format!(
                "usage: aws [options] <command> <subcommand> [<subcommand> ...] [parameters]\n\nUnknown options: {}",
                rest.join(", ")
            )));
        }
        let mut paging = paging(operation, &words, pages_are_off)?;
        let mut parameters = Value::Map(Vec::new());
        for member in &operation.input.members {
            let argument = member.argument();
            let is_of_pages = paging.is_some() && PAGING.contains(&argument.as_str());
            if is_of_pages {
                continue;
            }
            if matches!(member.shape.kind, Kind::Boolean) {
                // The last one counts, as with argparse.
                let negative = member.negative_argument();
                let mut given = words.options.iter().filter_map(|(name, _)| {
                    let is_given = [&argument, &negative].contains(&name);
                    is_given.then_some(*name == argument)
                });
                if let Some(is_true) = given.next_back() {
                    parameters.set(member.name, Value::Bool(is_true));
                }
            } else if let Some(values) = words.values(&argument) {
                let value = unpack(&argument, member, values, service, files)?;
                parameters.set(member.name, value);
            }
        }
        custom.apply(&words, &mut parameters, files)?;
        if let Some(input) = input {
            merge_input(&mut parameters, &input, files)?;
            // A token in the document means that the caller pages by hand.
            if paging.is_some()
                && operation.pages.as_ref().is_some_and(|pages| {
                    let mut tokens = pages.input_tokens.iter().chain(&pages.limit);
                    tokens.any(|token| parameters.get(token).is_some())
                })
            {
                paging = None;
            }
        }
        Ok(Self {
            parameters,
            output_file,
            paging,
        })
    }
}

fn options(operation: &Operation, custom: &customized::Arguments) -> Vec<OptionWord> {
    let mut options = Vec::new();
    for member in &operation.input.members {
        let argument = member.argument();
        match member.shape.kind {
            Kind::Boolean => {
                options.push(OptionWord::new(member.negative_argument(), Takes::None));
                options.push(OptionWord::new(argument, Takes::None));
            }
            Kind::List(_) => options.push(OptionWord::new(argument, Takes::Many)),
            _ => options.push(OptionWord::new(argument, Takes::One)),
        }
    }
    options.extend(custom.options());
    // With and without a value.
    options.push(OptionWord::new("generate-cli-skeleton", Takes::Many));
    let mut more = Vec::new();
    if operation.output_file().is_none() {
        more.extend(["cli-input-json", "cli-input-yaml"]);
    }
    if let Some(pages) = &operation.pages {
        more.extend(
            PAGING
                .iter()
                .filter(|name| **name != "page-size" || pages.limit.is_some()),
        );
    }
    for name in more {
        if !options.iter().any(|option| option.name == name) {
            options.push(OptionWord::new(name, Takes::One));
        }
    }
    options
}

/// How the result is paged; `None` if it is not, because it has no pages, or because the caller does it.
fn paging(
    operation: &Operation,
    words: &Words,
    pages_are_off: bool,
) -> Result<Option<Paging>, Failure> {
    let Some(pages) = &operation.pages else {
        return Ok(None);
    };
    let argument_of = |token: &str| operation.input.member(token).map(Member::argument);
    let by_hand = pages
        .input_tokens
        .iter()
        .chain(&pages.limit)
        .filter_map(|token| argument_of(token));
    let mut by_hand =
        by_hand.filter(|argument| !["start-token", "max-items"].contains(&argument.as_str()));
    if pages_are_off || by_hand.any(|argument| words.has(&argument)) {
        let is_of_operation = |name: &str| {
            operation
                .input
                .members
                .iter()
                .any(|member| member.argument() == name)
        };
        let given: Vec<_> = PAGING
            .iter()
            .filter(|name| words.has(name) && !is_of_operation(name))
            .map(|name| format!("--{name}"))
            .collect();
        if !given.is_empty() {
            return Err(Failure::usage(format!(
                "Cannot specify --no-paginate along with pagination arguments: {}",
                given.join(", ")
            )));
        }
        return Ok(None);
    }
    let number = |name: &str| match words.value(name) {
        None => Ok(None),
        Some(text) => shorthand::integer(text).map(Some).map_err(|_| {
            Failure::usage_error(&format!("argument --{name}: invalid int value: '{text}'"))
        }),
    };
    Ok(Some(Paging {
        starting_token: words.value("starting-token").map(str::to_owned),
        page_size: number("page-size")?,
        max_items: match number("max-items")? {
            Some(items) if items < 0 => return Err(Failure::missing("--max-items below 0")),
            items => items.and_then(|items| usize::try_from(items).ok()),
        },
    }))
}

fn merge_input(parameters: &mut Value, input: &str, files: Files) -> Result<(), Failure> {
    let content = files.content("cli-input-json", input)?;
    let text = match &content {
        Some(Value::Text(text)) => text.as_bytes(),
        Some(Value::Bytes(bytes)) => bytes,
        _ => input.as_bytes(),
    };
    let invalid =
        |cause: &str| Failure::usage(format!("Error parsing parameter 'cli-input-json': {cause}"));
    let input = Value::from_json(text).map_err(|_| invalid("Invalid JSON received."))?;
    let Value::Map(entries) = input else {
        let received = input.python_type();
        return Err(invalid(&format!(
            "Invalid type: expecting map, received <class '{received}'>"
        )));
    };
    for (key, value) in entries {
        if parameters.get(&key).is_none() {
            parameters.set(&key, value);
        }
    }
    Ok(())
}

/// The value that the words of an argument mean.
fn unpack(
    argument: &str,
    member: &Member,
    values: &[String],
    service: &Service,
    files: Files,
) -> Result<Value, Failure> {
    let shape = &member.shape;
    if let ([value], Some(kind)) = (values, number_of_argparse(&shape.kind)) {
        let parsed = scalar(argument, shape, value, files);
        let failure = format!("argument --{argument}: invalid {kind} value: '{value}'");
        return parsed.map_err(|_| Failure::usage_error(&failure));
    }
    let content = match values {
        [value] => files.content(argument, value)?,
        _ => None,
    };
    let text = match content {
        Some(Value::Text(text)) => Some(text),
        Some(bytes) => return Ok(bytes),
        None => None,
    };
    match &shape.kind {
        Kind::List(list) => {
            let values = match &text {
                Some(text) => std::slice::from_ref(text),
                None => values,
            };
            let first = values.first().map(|value| value.trim_start());
            let looks_like_json = first.is_some_and(|first| first.starts_with(['[', '{']));
            let has_structures = matches!(
                list.element.kind,
                Kind::Structure(_) | Kind::List(_) | Kind::Map(_)
            );
            if let ([value], true) = (values, first.is_some_and(|first| first.starts_with('['))) {
                return from_json(argument, value);
            }
            let elements = values.iter().map(|value| {
                if has_structures && !looks_like_json {
                    from_shorthand(argument, value, &list.element, service)
                } else {
                    single(argument, &list.element, value, files)
                }
            });
            Ok(Value::List(elements.collect::<Result<_, _>>()?))
        }
        Kind::Structure(_) | Kind::Map(_) => {
            let value = text
                .as_deref()
                .or(values.first().map(String::as_str))
                .unwrap_or_default();
            if value.trim_start().starts_with(['[', '{']) {
                single(argument, shape, value, files)
            } else {
                from_shorthand(argument, value, shape, service)
            }
        }
        _ => {
            let value = text
                .as_deref()
                .or(values.first().map(String::as_str))
                .unwrap_or_default();
            scalar(argument, shape, value, files)
        }
    }
}

/// The types that the AWS CLI checks with the command line, and not later.
fn number_of_argparse(kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::Long => Some("int"),
        Kind::Float | Kind::Double => Some("float"),
        _ => None,
    }
}

/// A value that is no shorthand.
fn single(argument: &str, shape: &Shape, value: &str, files: Files) -> Result<Value, Failure> {
    let opening = match shape.kind {
        Kind::Structure(_) | Kind::Map(_) => '{',
        Kind::List(_) => '[',
        _ => return scalar(argument, shape, value, files),
    };
    if value.trim_start().starts_with(opening) {
        return from_json(argument, value);
    }
    Err(Failure::argument(
        argument,
        &format!("Invalid JSON:\n{value}"),
    ))
}

fn scalar(argument: &str, shape: &Shape, value: &str, files: Files) -> Result<Value, Failure> {
    Ok(match shape.kind {
        Kind::Integer | Kind::Long => {
            Value::Integer(shorthand::integer(value).map_err(Failure::other)?)
        }
        Kind::Float | Kind::Double => {
            Value::Float(shorthand::float(value).map_err(Failure::other)?)
        }
        Kind::File => files.open(argument, value)?,
        Kind::Boolean => Value::Bool(!value.eq_ignore_ascii_case("false") && !value.is_empty()),
        _ => Value::text(value),
    })
}

fn from_json(argument: &str, text: &str) -> Result<Value, Failure> {
    Value::from_json(text.as_bytes()).map_err(|error| {
        Failure::argument(
            argument,
            &format!("Invalid JSON: {error}\nJSON received: {text}"),
        )
    })
}

fn from_shorthand(
    argument: &str,
    text: &str,
    shape: &Shape,
    service: &Service,
) -> Result<Value, Failure> {
    // A structure that has a value and nothing else may be written without its key.
    if let Kind::Structure(name) = shape.kind
        && let [only] = &service.structure(name).members[..]
        && only.name == "Value"
        && matches!(only.shape.kind, Kind::String)
        && !text.contains('=')
    {
        return Ok(Value::Map(vec![("Value".to_owned(), Value::text(text))]));
    }
    let mut value = shorthand::parse(text).map_err(|cause| Failure::argument(argument, &cause))?;
    shorthand::fit(&mut value, shape, service).map_err(Failure::other)?;
    Ok(value)
}
