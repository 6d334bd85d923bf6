//! What a filter may look at besides its input, and where its values go.

use std::cell::{Cell, RefCell};
use std::ops::Deref;

use jaq_json::{Map, Val};

use crate::call::{End, Output};
use crate::local_time::LocalTime;

#[derive(Debug)]
pub(crate) struct Surroundings {
    output: Output,
    pub environment: Val,
    pub local_time: LocalTime,
    pub file_name: RefCell<Option<String>>,
    pub lines: Cell<usize>,
    /// An input could not be opened.
    pub has_missing_file: Cell<bool>,
}

impl Surroundings {
    pub(crate) fn new(
        output: Output,
        environment: Vec<(String, String)>,
        local_time: LocalTime,
    ) -> Self {
        let variable = |(name, value)| (Val::from(name), Val::from(value));
        let environment: Map = environment.into_iter().map(variable).collect();
        Self {
            output,
            environment: Val::obj(environment),
            local_time,
            file_name: RefCell::default(),
            lines: Cell::default(),
            has_missing_file: Cell::default(),
        }
    }

    /// Writes a line `jq: ...` to standard error.
    pub(crate) fn complain(&self, message: &str) {
        self.write_error(format!("jq: {message}\n").as_bytes());
    }

    pub(crate) fn end(self, status: i32) -> End {
        self.output.end(status)
    }
}

impl Deref for Surroundings {
    type Target = Output;

    fn deref(&self) -> &Output {
        &self.output
    }
}
