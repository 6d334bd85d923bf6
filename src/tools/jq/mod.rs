//! jq, by jaq: the options, inputs, output and exit statuses of the program jq around jaq's language.

mod alternatives;
mod encoding;
mod escapes;
mod filter;
mod input;
mod message;
mod options;
mod parse;
mod paths;
mod rewrite;
mod run;
mod surroundings;
mod times;
mod write;

pub(crate) use filter::Compiled;
pub(crate) use run::{run, values_of};
