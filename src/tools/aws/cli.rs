//! The command `aws`: what AWS's own CLI does with these arguments.

use super::s3;
use super::session::Kept;
use crate::call::{Call, End, Output};

/// Does what the AWS CLI does with these arguments.
pub(crate) fn run(call: Call, kept: &Kept) -> End {
    if s3::is_for_s3(&call.arguments) {
        return s3::run(call, kept);
    }
    let output = Output::new(call.output, call.errors);
    output.write_error(b"aws: there is no such operation\n");
    output.end(252)
}
