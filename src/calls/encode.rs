//! `lambda_encode [-v VAR] ENCODING [TEXT]` and `lambda_decode`: of standard input, if there is no text.

use crate::encoding::Encoding;
use crate::options::Arguments;
use crate::{Call, CallError, Caller, Reply, check_name};

pub(crate) fn answer(call: &Call<'_>, caller: &dyn Caller) -> Result<Reply, CallError> {
    let is_decoding = call.function == "decode";
    let mut arguments = Arguments::of(call);
    let mut variable = None;
    let name = loop {
        match arguments.next() {
            Some(b"-v") => variable = Some(check_name(arguments.value("-v", "the name")?)?),
            Some(option) if option.starts_with(b"-") => {
                return Err(arguments.unknown(option, "-v VAR"));
            }
            Some(name) => break name,
            None => {
                let known = Encoding::NAMES;
                return Err(arguments.misuse(&format!("expected one of {known}")));
            }
        }
    };
    let encoding = Encoding::named(name).ok_or_else(|| {
        // Without its name: it may be a secret, if the encoding was forgotten.
        let known = Encoding::NAMES;
        arguments.misuse(&format!("there is no such encoding; there are {known}"))
    })?;
    let text = arguments.text_or_input(caller)?;
    if !is_decoding {
        return Reply::line(variable, encoding.encode(&text));
    }
    let name = String::from_utf8_lossy(name);
    let decoded = encoding.decode(&text);
    let decoded = decoded.map_err(|cause| {
        CallError::failure(format!("cannot decode the text: it is no {name}: {cause}"))
    })?;
    let Some(variable) = variable else {
        // The bytes that they were, and no line of text.
        return Ok(Reply {
            output: decoded,
            ..Reply::default()
        });
    };
    Reply::line(Some(variable), decoded)
}
