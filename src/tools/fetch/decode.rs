//! Undoes the encodings of a body.

use std::io::{self, Read};

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::failure::{Failure, broken, failure, status};

/// Reads `body` without its encodings, which `names` lists in the order in which they were applied.
///
/// # Errors
/// An encoding is not known, or the body cannot be read.
pub(super) fn decoder(mut body: Box<dyn Read>, names: &str) -> Result<Box<dyn Read>, Failure> {
    for name in names.rsplit(',') {
        let name = name.trim().to_ascii_lowercase();
        if matches!(name.as_str(), "" | "identity" | "none") {
            continue;
        }
        // Nothing is no wrong encoding.
        let start = beginning(&mut body).map_err(|error| broken(&error, 0))?;
        let is_empty = start.is_empty();
        let is_zlib = has_zlib_header(&start);
        let all = Box::new(io::Cursor::new(start).chain(body));
        body = match name.as_str() {
            _ if is_empty => all,
            "gzip" | "x-gzip" => Box::new(MultiGzDecoder::new(all)),
            "deflate" if is_zlib => Box::new(ZlibDecoder::new(all)),
            // Some servers leave the header of zlib out.
            "deflate" => Box::new(DeflateDecoder::new(all)),
            _ => {
                let cause = format!("cannot decode the answer: there is no encoding {name}");
                return Err(failure(status::ENCODING, cause));
            }
        };
    }
    Ok(body)
}

/// The first two bytes, or fewer if there are no more.
fn beginning(body: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    body.take(2).read_to_end(&mut start)?;
    Ok(start)
}

/// RFC 1950, section 2.2.
fn has_zlib_header(start: &[u8]) -> bool {
    match start {
        [method, flags, ..] => {
            method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31)
        }
        _ => false,
    }
}
