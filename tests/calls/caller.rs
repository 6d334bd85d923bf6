//! A caller with an event and files, and a short way to call.

use std::collections::BTreeMap;

use coshell_calls::{Answer, Call, CallError, Caller, Document, Reply, Source, Variable, answer};

/// Where the calls of a test come from.
#[derive(Default)]
pub(crate) struct Place {
    event: Option<Document<'static>>,
    pub(crate) files: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) input: Option<Vec<u8>>,
    pub(crate) standard_input: Vec<u8>,
}

impl Caller for Place {
    fn read(&self, source: Source<'_>) -> Result<Vec<u8>, String> {
        match source {
            Source::StandardInput => Ok(self.standard_input.clone()),
            Source::File(name) => {
                let found = self.files.get(name).cloned();
                found.ok_or_else(|| "No such file or directory (os error 2)".to_owned())
            }
        }
    }

    fn event(&self) -> Result<&Document<'_>, String> {
        self.event
            .as_ref()
            .ok_or_else(|| "there is no invocation".to_owned())
    }

    fn now_ms(&self) -> u64 {
        1_795_425_247_312
    }
}

impl Place {
    pub(crate) fn with_event(event: impl AsRef<[u8]>) -> Self {
        let event = Document::new(event.as_ref().to_vec()).expect("JSON");
        Self {
            event: Some(event),
            ..Self::default()
        }
    }

    /// Calls `function`; arguments are bytes or text.
    pub(crate) fn answer<A: AsRef<[u8]>>(
        &self,
        function: &str,
        arguments: &[A],
    ) -> Result<Answer, CallError> {
        let call = Call {
            function,
            arguments: arguments.iter().map(AsRef::as_ref).collect(),
            input: self.input.as_deref(),
        };
        answer(&call, self)
    }

    pub(crate) fn call<A: AsRef<[u8]>>(
        &self,
        function: &str,
        arguments: &[A],
    ) -> Result<Reply, String> {
        match self.answer(function, arguments) {
            Ok(Answer::Reply(reply)) => Ok(reply),
            Ok(Answer::NeedsJq(_)) => Err("needs jq".to_owned()),
            Err(error) => Err(error.message),
        }
    }

    /// The one text that a path gives, or why there is none.
    pub(crate) fn get(&self, path: &str) -> String {
        match self.call("get", &["x", path]) {
            Ok(reply) => match reply.assignments.as_slice() {
                [(name, Variable::Text(text))] if name == "x" => {
                    String::from_utf8_lossy(text).into_owned()
                }
                other => format!("{other:?}"),
            },
            Err(message) => message,
        }
    }

    /// The list that a path gives.
    pub(crate) fn list(&self, arguments: &[&str]) -> Vec<String> {
        let reply = self.call("get", arguments).expect("a reply");
        match reply.assignments.as_slice() {
            [(_, Variable::List(texts))] => texts
                .iter()
                .map(|text| String::from_utf8_lossy(text).into_owned())
                .collect(),
            other => panic!("no list: {other:?}"),
        }
    }
}
