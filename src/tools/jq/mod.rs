//! jq, by jaq: the options, inputs, output and exit statuses of the program jq around jaq's language.

mod alternatives;
mod call;
mod encoding;
mod filter;
mod input;
mod message;
mod options;
mod parse;
mod paths;
mod rewrite;
mod run;
mod write;

pub(crate) use call::Call;
pub(crate) use filter::Compiled;
pub(crate) use run::{run, values_of};
