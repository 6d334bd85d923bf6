//! The commands that a handler can run, by name.

use crate::aws;
use crate::call::{Call, End};
use crate::fetch;
use crate::jq;

/// What is kept between calls.
#[derive(Default)]
pub(crate) struct Commands {
    filters: jq::Compiled,
    aws: aws::Kept,
    values: aws::ValueCache,
}

impl Commands {
    /// Runs a command; `None` if there is none of this name.
    pub(crate) fn run(&mut self, name: &[u8], call: Call) -> Option<End> {
        match name {
            b"jq" => Some(jq::run(call, &mut self.filters)),
            b"aws" => Some(aws::run_cli(call, &self.aws)),
            b"aws-request" => Some(aws::run_request(call, &self.aws)),
            b"secret" => Some(self.value(aws::ValueKind::Secret, call)),
            b"parameter" => Some(self.value(aws::ValueKind::Parameter, call)),
            b"fetch" => Some(fetch::run(call, &self.aws.client)),
            _ => None,
        }
    }

    fn value(&mut self, kind: aws::ValueKind, call: Call) -> End {
        aws::run_value(kind, call, &self.aws, &mut self.values)
    }

    pub(crate) fn filters(&mut self) -> &mut jq::Compiled {
        &mut self.filters
    }
}
