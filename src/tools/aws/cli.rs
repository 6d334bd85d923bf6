//! The command `aws`: what AWS's own CLI does with these arguments.

use super::session::Kept;
use crate::call::{Call, End, Output};

/// Does what the AWS CLI does with these arguments.
pub(crate) fn run(call: Call, _kept: &Kept) -> End {
    let output = Output::new(call.output, call.errors);
    output.write_error(b"aws: there is no such operation\n");
    output.end(252)
}
