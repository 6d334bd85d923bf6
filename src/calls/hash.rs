//! `lambda_hash [-v VAR] [--base64] sha256 [TEXT]` and `... --key KEY hmac-sha256 [TEXT]`: of standard input, if there
//! is no text.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::encoding::{Encoding, hex, hex_decoded};
use crate::options::Arguments;
use crate::{Call, CallError, Caller, Reply, Source, check_name};

const OPTIONS: &str = "-v VAR, --base64, --file FILE, --key KEY, --key-hex HEX and --key-file FILE";

pub(crate) fn answer(call: &Call<'_>, caller: &dyn Caller) -> Result<Reply, CallError> {
    let mut arguments = Arguments::of(call);
    let (mut variable, mut is_base64) = (None, false);
    let (mut key, mut file) = (None, None);
    let name = loop {
        match arguments.next() {
            Some(b"-v") => variable = Some(check_name(arguments.value("-v", "the name")?)?),
            Some(b"--base64") => is_base64 = true,
            Some(b"--file") => file = Some(arguments.value("--file", "the name of the file")?),
            Some(b"--key") => key = Some(arguments.value("--key", "the key")?.to_vec()),
            Some(b"--key-hex") => {
                let text = arguments.value("--key-hex", "the key")?;
                let bytes = hex_decoded(text);
                // Not what it is: it is secret.
                key = Some(bytes.map_err(|_| arguments.misuse("--key-hex: it is no hex"))?);
            }
            Some(b"--key-file") => {
                let name = arguments.value("--key-file", "the name of the file")?;
                key = Some(read(name, caller)?);
            }
            Some(option) if option.starts_with(b"-") => {
                return Err(arguments.unknown(option, OPTIONS));
            }
            Some(name) => break name,
            None => return Err(arguments.misuse("expected sha256 or hmac-sha256")),
        }
    };
    let is_keyed = match name {
        b"sha256" => false,
        b"hmac-sha256" => true,
        // Without its name: it may be a secret, if the hash was forgotten.
        _ => {
            let cause = "there is no such hash; there are sha256 and hmac-sha256";
            return Err(arguments.misuse(cause));
        }
    };
    match (&key, is_keyed) {
        (None, true) => return Err(arguments.misuse("hmac-sha256 needs --key KEY")),
        (Some(_), false) => return Err(arguments.misuse("a key is for hmac-sha256")),
        _ => {}
    }
    let text = match file {
        Some(name) => {
            arguments.end()?;
            read(name, caller)?.into()
        }
        None => arguments.text_or_input(caller)?,
    };
    let digest = match key {
        Some(key) => hmac(&key, &text)?,
        None => Sha256::digest(&text).to_vec(),
    };
    let digest = if is_base64 {
        Encoding::Base64.encode(&digest)
    } else {
        hex(&digest).into_bytes()
    };
    Reply::line(variable, digest)
}

fn hmac(key: &[u8], text: &[u8]) -> Result<Vec<u8>, CallError> {
    let fails = |_| CallError::failure("cannot use the key: its length does not fit");
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).map_err(fails)?;
    hmac.update(text);
    Ok(hmac.finalize().into_bytes().to_vec())
}

fn read(name: &[u8], caller: &dyn Caller) -> Result<Vec<u8>, CallError> {
    let source = match name {
        b"-" => Source::StandardInput,
        name => Source::File(name),
    };
    let shown = String::from_utf8_lossy(name);
    let read = caller.read(source);
    read.map_err(|cause| CallError::failure(format!("cannot read file {shown}: {cause}")))
}
