//! The transfers of one call, one for each URL.

use std::collections::HashMap;
use std::time::Instant;

use super::body::Inputs;
use super::failure::status;
use super::options::Options;
use super::request::{self, Transfer};
use super::write_out::Facts;
use crate::call::{Call, End, Output};
use crate::http::{Client, without_user};

/// One call.
pub(super) struct Fetch<'a> {
    pub options: &'a Options,
    pub environment: HashMap<String, String>,
    pub inputs: Inputs,
    pub output: &'a Output,
    pub client: &'a Client,
    /// When the last try began.
    pub started: Instant,
}

/// What is known of the last answer.
#[derive(Default)]
pub(super) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// The heads of all answers of this try, as they came.
    pub heads: String,
    pub url: String,
    pub method: String,
    /// Where a redirect would lead.
    pub redirect_url: String,
    pub bytes: u64,
    pub file_name: String,
}

/// Does what curl does with these arguments.
pub(crate) fn run(call: Call, client: &Client) -> End {
    let options = match Options::read(&call.arguments) {
        Ok(options) => options,
        Err(cause) => {
            let output = Output::new(call.output, call.errors);
            output.write_error(format!("lambda_fetch: {cause}\n").as_bytes());
            return output.end(status::USAGE);
        }
    };
    // What a variable takes stays here.
    let file = call.output.filter(|_| options.variable.is_none());
    let output = Output::new(file, call.errors);
    let mut fetch = Fetch {
        options: &options,
        environment: call.environment.into_iter().collect(),
        inputs: Inputs {
            place: call.place,
            input: call.input,
        },
        output: &output,
        client,
        started: Instant::now(),
    };
    let format = match fetch.inputs.format(options.write_out.as_deref()) {
        Ok(format) => format,
        Err(cause) => {
            output.write_error(format!("lambda_fetch: {cause}\n").as_bytes());
            return output.end(status::READ);
        }
    };
    let mut exit_status = 0;
    for transfer in Transfer::all(&options) {
        // The last one decides, as with curl.
        exit_status = fetch.one(transfer, format.as_deref());
    }
    if output.finish("lambda_fetch").is_some() {
        exit_status = status::WRITE;
    }
    let mut end = output.end(exit_status);
    end.variable = options.variable.unwrap_or_default();
    end
}

impl Fetch<'_> {
    /// Fetches one URL. Returns the exit status.
    fn one(&mut self, transfer: Transfer, format: Option<&str>) -> i32 {
        self.started = Instant::now();
        let mut answer = Answer {
            url: without_user(transfer.url),
            method: request::method(self.options, transfer),
            ..Answer::default()
        };
        let result = self.with_retries(transfer, &mut answer);
        let (status, message) = match &result {
            Ok(()) => (0, ""),
            Err(failure) => (failure.status, failure.message.as_str()),
        };
        if let Some(format) = format {
            let facts = Facts {
                status: answer.status,
                headers: &answer.headers,
                url: &answer.url,
                method: &answer.method,
                redirect_url: &answer.redirect_url,
                bytes: answer.bytes,
                seconds: self.started.elapsed().as_secs_f64(),
                exit_status: status,
                error: message,
                file_name: &answer.file_name,
            };
            let (text, unknown) = facts.text(format);
            self.output
                .write(|output| output.extend_from_slice(text.as_bytes()), false);
            for name in unknown {
                self.complain(&format!("there is no value %{{{name}}} for --write-out"));
            }
        }
        let is_shown = !self.options.is_silent || self.options.shows_errors;
        if status != 0 && is_shown {
            self.complain(&format!("({status}) {message}"));
        }
        status
    }

    fn complain(&self, message: &str) {
        self.output
            .write_error(format!("lambda_fetch: {message}\n").as_bytes());
    }
}
