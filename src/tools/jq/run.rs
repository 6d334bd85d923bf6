//! Runs filters, as the program jq does.

use jaq_core::{Ctx, Vars};
use jaq_json::{Rc, Val};
use jaq_std::input::RcIter;

use super::filter::{Compiled, Data, Failure, Filter, Kind, describe, is_true};
use super::input::{Bytes, Lines, Values};
use super::options::{Form, Options, Stop};
use super::parse::parse;
use super::surroundings::Surroundings;
use super::write::{Style, string};
use crate::call::{Call, End, Output, Place};
use crate::local_time::LocalTime;

/// The status after an error in a filter.
const FILTER_FAILED: i32 = 5;
/// What a program ends with that writes to a pipe nobody reads: 128 and the number of SIGPIPE.
const BROKEN_PIPE: i32 = 141;

type Inputs<'a> = Box<dyn Iterator<Item = Result<Val, String>> + 'a>;

/// The values that each of `filters` gives for the JSON text `document`, as JSON.
///
/// # Errors
/// The filter that fails, and why.
pub(crate) fn values_of(
    filters: &[Vec<u8>],
    document: &[u8],
    compiled: &mut Compiled,
) -> Result<Vec<Vec<Vec<u8>>>, String> {
    let document = document.strip_prefix(b"\xef\xbb\xbf").unwrap_or(document);
    let input = parse(document).map_err(|error| format!("cannot read the document: {error}"))?;
    // The caller's variables are not known here; those of the function's configuration are ours, too.
    let zone = std::env::var("TZ").ok();
    let zone = zone.map(|zone| ("TZ".to_owned(), zone));
    let local_time = LocalTime::new(zone.as_slice(), Place::of_this_process());
    let surroundings = Surroundings::new(Output::new(None, None), Vec::new(), local_time);
    let mut lists = Vec::new();
    for text in filters {
        let text = String::from_utf8_lossy(text);
        let fails = |cause: &str| format!("cannot read {text}: {cause}");
        let filter = compiled.get(&text, &["$ENV"], &[]);
        let filter = filter.map_err(|mistakes| fails(&mistakes.join("; ")))?;
        let nothing = RcIter::new(std::iter::empty());
        let data = Data {
            lut: &filter.lut,
            inputs: &nothing,
            surroundings: &surroundings,
        };
        let variables = Vars::new([surroundings.environment.clone()]);
        let context = Ctx::<Kind>::new(data, variables);
        let mut list = Vec::new();
        for value in filter.id.run((context, input.clone())) {
            match value.map_err(Failure::from) {
                Ok(value) => {
                    let mut json = Vec::new();
                    Style::compact().write(&mut json, &value);
                    list.push(json);
                }
                Err(Failure::Error(error)) => {
                    let cause = describe(error);
                    return Err(fails(cause.trim_start_matches([':', ' '])));
                }
                Err(Failure::Halt(status)) => {
                    return Err(fails(&format!("it halts with status {status}")));
                }
            }
        }
        lists.push(list);
    }
    Ok(lists)
}

/// Does what the program jq does with these arguments.
pub(crate) fn run(call: Call, compiled: &mut Compiled) -> End {
    let local_time = LocalTime::new(&call.environment, call.place);
    let output = Output::new(call.output, call.errors);
    let surroundings = Surroundings::new(output, call.environment, local_time);
    let status = match Options::read(&call.arguments, call.place) {
        Ok(options) => {
            let files = options.files.clone();
            let bytes = Bytes::new(&surroundings, call.place, call.input, files);
            run_filter(&options, bytes, &surroundings, compiled)
        }
        Err(Stop::Text(text)) => {
            surroundings.write(|output| output.extend_from_slice(text.as_bytes()), true);
            0
        }
        Err(Stop::Error(message)) => {
            surroundings.complain(&message);
            2
        }
    };
    surroundings.flush();
    let status = match surroundings.broken() {
        None => status,
        Some(error) if error.kind() == std::io::ErrorKind::BrokenPipe => BROKEN_PIPE,
        Some(error) => {
            surroundings.complain(&format!("error: writing output failed: {error}"));
            2
        }
    };
    surroundings.end(status)
}

fn run_filter<'a>(
    options: &'a Options,
    bytes: Bytes<'a>,
    surroundings: &'a Surroundings,
    compiled: &mut Compiled,
) -> i32 {
    let names = options.variables.iter().map(|(name, _)| name.as_str());
    let names: Vec<_> = names.chain(["$ENV"]).collect();
    let filter = match compiled.get(&options.filter, &names, &options.library) {
        Ok(filter) => filter,
        Err(mistakes) => {
            for mistake in &mistakes {
                surroundings.complain(&format!("error: {mistake}"));
            }
            let count = mistakes.len();
            let end = if count == 1 { "" } else { "s" };
            surroundings.complain(&format!("{count} compile error{end}"));
            return 3;
        }
    };
    let inputs = RcIter::new(inputs(options, bytes));
    Run {
        options,
        surroundings,
        filter: &filter,
        last: None,
        status: 0,
    }
    .all(&inputs)
}

fn inputs<'a>(options: &Options, mut bytes: Bytes<'a>) -> Inputs<'a> {
    if options.is_raw_input && options.is_slurped {
        return Box::new(std::iter::once_with(move || Ok(bytes.all())));
    }
    let mut values: Inputs<'a> = if options.is_raw_input {
        Box::new(Lines(bytes))
    } else {
        Box::new(Values::new(bytes))
    };
    if options.is_streamed {
        values = Box::new(values.flat_map(|value| match value {
            Ok(value) => events(&value).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        }));
    }
    if options.is_slurped {
        return Box::new(std::iter::once_with(move || values.collect()));
    }
    values
}

/// A value as `--stream` gives it.
fn events(value: &Val) -> Vec<Val> {
    let mut events = Vec::new();
    add_events(value, &mut Vec::new(), &mut events);
    events
}

fn add_events(value: &Val, path: &mut Vec<Val>, events: &mut Vec<Val>) {
    let path_value = |path: &[Val]| path.iter().cloned().collect::<Val>();
    let children: Vec<(Val, &Val)> = match value {
        Val::Arr(values) => values
            .iter()
            .enumerate()
            .map(|(index, value)| (Val::from(index), value))
            .collect(),
        Val::Obj(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), value))
            .collect(),
        _ => Vec::new(),
    };
    let Some((last, _)) = children.last() else {
        events.push(Val::Arr(Rc::new(vec![path_value(path), value.clone()])));
        return;
    };
    let last = last.clone();
    for (step, child) in children {
        path.push(step);
        add_events(child, path, events);
        path.pop();
    }
    path.push(last);
    events.push(Val::Arr(Rc::new(vec![path_value(path)])));
    path.pop();
}

/// One run of the program jq.
struct Run<'a> {
    options: &'a Options,
    surroundings: &'a Surroundings,
    filter: &'a Filter,
    /// Whether the last value was neither null nor false.
    last: Option<bool>,
    status: i32,
}

impl Run<'_> {
    fn all(mut self, inputs: &RcIter<dyn Iterator<Item = Result<Val, String>> + '_>) -> i32 {
        if self.options.has_null_input {
            if let Some(status) = self.one(Val::Null, inputs) {
                return status;
            }
        } else {
            // The filter may take inputs, too.
            for input in inputs {
                match input {
                    Ok(input) => {
                        if let Some(status) = self.one(input, inputs) {
                            return status;
                        }
                    }
                    Err(cause) => {
                        self.surroundings
                            .complain(&format!("error: parse error: {cause}"));
                        self.status = 2;
                        break;
                    }
                }
            }
        }
        if self.surroundings.has_missing_file.get() && self.status == 0 {
            self.status = 2;
        }
        match (self.status, self.options.has_exit_status, self.last) {
            (0, true, None) => 4,
            (0, true, Some(false)) => 1,
            (status, ..) => status,
        }
    }

    /// Runs the filter for one input. Returns the status if everything ends.
    fn one(
        &mut self,
        input: Val,
        inputs: &RcIter<dyn Iterator<Item = Result<Val, String>> + '_>,
    ) -> Option<i32> {
        // As in jq, an error counts only if it is that of the last input.
        if self.status == FILTER_FAILED {
            self.status = 0;
        }
        let data = Data {
            lut: &self.filter.lut,
            inputs,
            surroundings: self.surroundings,
        };
        let values = self
            .options
            .variables
            .iter()
            .map(|(_, value)| value.clone());
        let variables = Vars::new(values.chain([self.surroundings.environment.clone()]));
        let context = Ctx::<Kind>::new(data, variables);
        for value in self.filter.id.run((context, input)) {
            match value.map_err(Failure::from) {
                Ok(value) => {
                    self.last = Some(is_true(&value));
                    if !self.write(&value) {
                        return Some(0);
                    }
                }
                Err(Failure::Error(error)) => {
                    let cause = describe(error);
                    self.surroundings
                        .complain(&format!("error (at <stdin>){cause}"));
                    self.status = FILTER_FAILED;
                    self.last = None;
                    // It ends the filter for this input.
                    return None;
                }
                Err(Failure::Halt(status)) => return Some(status),
            }
        }
        None
    }

    fn write(&self, value: &Val) -> bool {
        let Options { style, form, .. } = self.options;
        let write = |text: &mut Vec<u8>| {
            if self.options.is_sequence {
                text.push(0x1e);
            }
            match string(value) {
                Some(bytes) if *form != Form::Json && !style.is_ascii => {
                    text.extend_from_slice(bytes);
                }
                _ => style.write(text, value),
            }
            match form {
                Form::Json | Form::Raw => text.push(b'\n'),
                Form::Joined => {}
                Form::Nul => text.push(0),
            }
        };
        self.surroundings.write(write, self.options.is_unbuffered)
    }
}
