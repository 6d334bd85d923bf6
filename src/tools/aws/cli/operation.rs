//! Runs one operation of a service: from its arguments to its printed result.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::arguments::Arguments;
use super::failure::Failure;
use super::files::Files;
use super::globals::{Format, Globals};
use super::output::{json, table, text};
use super::pages;
use super::protocol;
use super::search::Expression;
use super::table::{Operation, Service};
use super::validate;
use super::value::Value;
use super::wait;
use super::words::Words;
use crate::aws::providers;
use crate::aws::session::{Kept, Session};
use crate::call::Output;
use crate::http::Response;
use crate::local_time::LocalTime;

/// Larger answers are refused. What is written to a file is not limited.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;
const BLOCK_BYTES: usize = 128 * 1024;

/// The service with this command, whose results are for the caller.
fn find_service(command: &str, files: Files) -> Result<Service, Failure> {
    let Some(mut service) = Service::find(command) else {
        let what = format!("the service {command}");
        return Err(missing(&what, "", Service::commands()));
    };
    service.zone = Some(LocalTime::new(files.environment, files.place));
    Ok(service)
}

/// Runs the operation that `words` begin with.
pub(crate) fn run(
    command: &str,
    words: &[String],
    mut globals: Globals,
    kept: &Kept,
    files: Files,
    output: &Output,
) -> Result<(), Failure> {
    let service = find_service(command, files)?;
    let mut words = Words::parse(&[], words)?;
    let mut take = |what: &str| {
        let missing = format!("the following arguments are required: {what}");
        words
            .take_first()
            .ok_or_else(|| Failure::usage_error(&missing))
    };
    let mut name = take("operation")?;
    let prints_password = command == "ecr" && name == "get-login-password";
    if prints_password {
        "get-authorization-token".clone_into(&mut name);
        globals.query = Some(Expression::parse(
            "authorizationData[0].authorizationToken",
        )?);
    }
    let mut waiter = None;
    if name == "wait" {
        let wanted = take("subcommand")?;
        let Some(found) = service.waiter(&wanted) else {
            let what = format!("{command} wait {wanted}");
            return Err(missing(&what, "", service.waiter_names()));
        };
        found.command.clone_into(&mut name);
        globals.has_no_pages = true;
        waiter = Some(found);
    }
    let Some(operation) = service.operation(&name) else {
        let what = format!("{command} {name}");
        let among = format!(" of {command}");
        return Err(missing(&what, &among, service.operation_commands()));
    };
    let words: Vec<String> = words.rest.into_iter().map(|rest| rest.word).collect();
    let mut arguments = Arguments::read(&service, &operation, &words, globals.has_no_pages, files)?;
    globals.choices.is_unsigned |= operation.is_unsigned;
    let session = providers::session(
        kept,
        files.environment,
        std::mem::take(&mut globals.choices),
        files.place,
    )?;
    session.settings.check_retry_mode()?;
    let takes_raw_bytes = globals.takes_raw_bytes.unwrap_or_else(|| {
        session.settings.setting("cli_binary_format") == Some("raw-in-base64-out")
    });
    let named = session
        .settings
        .variable("AWS_DEFAULT_OUTPUT")
        .or_else(|| session.settings.setting("output"));
    let format = match (globals.format, named) {
        (Some(format), _) => format,
        (None, Some(name)) => Format::named(name)
            // A word of the command line would be a usage error; this is a setting.
            .map_err(|failure| Failure::other(failure.message))?,
        (None, None) => Format::Json,
    };
    validate::complete(
        &mut arguments.parameters,
        &operation,
        &service,
        takes_raw_bytes,
    )?;
    let call = Caller {
        service: &service,
        operation: &operation,
        session: &session,
        files,
        output,
    };
    if let Some(waiter) = waiter {
        return wait::until(&waiter, || call.result(&arguments.parameters, None));
    }
    let results = match (&operation.pages, &arguments.paging) {
        (Some(pages), Some(paging)) => {
            let get = |parameters: &Value| call.result(parameters, None);
            let collected = pages::collect(&operation, pages, paging, arguments.parameters, get)?;
            if format == Format::Text {
                pages::separate(pages, collected)
            } else {
                vec![pages::join(pages, collected)]
            }
        }
        _ => vec![call.result(&arguments.parameters, arguments.output_file.as_deref())?],
    };
    for result in results {
        let result = match &globals.query {
            Some(query) => query.search(&result)?,
            None => result,
        };
        if prints_password {
            let password = password_of(&result)?;
            output.write(|text| text.extend_from_slice(&password), false);
        } else {
            print(&result, format, operation.name, output)?;
        }
    }
    Ok(())
}

/// Refuses what is not built in, and lists what is.
fn missing(what: &str, among: &str, known: impl Iterator<Item = impl Into<String>>) -> Failure {
    let known: Vec<String> = known.map(Into::into).collect();
    let known = known.join(", ");
    Failure::usage(format!(
        "{}\nThere are{among}: {known}",
        Failure::missing(what).message
    ))
}

/// The password in the token of a registry, which is `AWS:password` in Base64.
fn password_of(token: &Value) -> Result<Vec<u8>, Failure> {
    let decoded = token
        .as_text()
        .and_then(|token| STANDARD.decode(token).ok());
    let decoded = decoded.unwrap_or_default();
    let colon = decoded.iter().position(|byte| *byte == b':');
    let colon = colon.ok_or_else(|| Failure::other("the service sent no password"))?;
    Ok([&decoded[colon + 1..], b"\n"].concat())
}

fn print(result: &Value, format: Format, title: &str, output: &Output) -> Result<(), Failure> {
    let mut printed = String::new();
    match format {
        // Nothing stands for a result without members.
        Format::Json if matches!(result, Value::Map(entries) if entries.is_empty()) => {}
        Format::Json => {
            printed = json::pretty(result);
            printed.push('\n');
        }
        Format::Text => text::write(&mut printed, result),
        Format::Table => table::write(&mut printed, result, title)?,
    }
    output.write(|text| text.extend_from_slice(printed.as_bytes()), false);
    Ok(())
}

struct Caller<'a> {
    service: &'a Service,
    operation: &'a Operation,
    session: &'a Session<'a>,
    files: Files<'a>,
    output: &'a Output,
}

impl Caller<'_> {
    /// Sends one request, and reads its result. The body may go to a file.
    fn result(&self, parameters: &Value, output_file: Option<&str>) -> Result<Value, Failure> {
        let request = protocol::request(self.service, self.operation, parameters)?;
        let mut target = self.service.target();
        let prefixed = self
            .operation
            .host_prefix
            .map(|prefix| format!("{prefix}{}", target.endpoint_prefix));
        if let Some(prefixed) = &prefixed {
            target.endpoint_prefix = prefixed;
        }
        let mut response = self.session.send(&target, &request)?;
        let mut body = Vec::new();
        if let Some(file) = output_file {
            self.save(&mut response, file)?;
        } else {
            let mut limited = (&mut response.body).take(MAX_ANSWER_BYTES + 1);
            limited
                .read_to_end(&mut body)
                .map_err(|error| cut(&error))?;
            if body.len() as u64 > MAX_ANSWER_BYTES {
                return Err(Failure::other("the answer has more than 64 MiB"));
            }
        }
        protocol::result(self.service, self.operation, &response, &body)
    }

    /// Writes the body to a file. If the body is not complete, the file is removed.
    fn save(&self, response: &mut Response, name: &str) -> Result<(), Failure> {
        let path = self.files.place.path(Path::new(name));
        let fail = |error: &io::Error| {
            let cause = match error.raw_os_error() {
                Some(number) => format!(
                    "[Errno {number}] {}: '{name}'",
                    nix::errno::Errno::from_raw(number).desc()
                ),
                None => format!("cannot write {name}: {error}"),
            };
            Failure::other(cause)
        };
        // Standard output may be what cannot be opened again, and has the output that came before.
        let is_output = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].contains(&name);
        let mut file = (!is_output)
            .then(|| File::create(&path))
            .transpose()
            .map_err(|error| fail(&error))?;
        let length = response
            .header("content-length")
            .and_then(|length| length.parse::<u64>().ok());
        let is_encoded = response.header("content-encoding").is_some();
        let remove = || {
            if !is_output && fs::metadata(&path).is_ok_and(|about| about.is_file()) {
                // The failure is what counts.
                let _ = fs::remove_file(&path);
            }
        };
        let mut block = vec![0; BLOCK_BYTES];
        let mut done = 0;
        loop {
            let count = match response.body.read(&mut block) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    remove();
                    return Err(cut(&error));
                }
            };
            let read = &block[..count];
            match &mut file {
                Some(file) => file.write_all(read).map_err(|error| fail(&error))?,
                None if self
                    .output
                    .write(|text| text.extend_from_slice(read), false) => {}
                // Nobody reads any more.
                None => return Err(Failure::silent(255)),
            }
            done += count as u64;
        }
        if let Some(length) = length
            && done < length
            && !is_encoded
        {
            remove();
            return Err(Failure::other(format!(
                "Connection broken: IncompleteRead({done} bytes read, {} more expected)",
                length - done
            )));
        }
        Ok(())
    }
}

fn cut(error: &io::Error) -> Failure {
    Failure::other(format!(
        "Connection was closed before the answer was complete: {error}"
    ))
}
