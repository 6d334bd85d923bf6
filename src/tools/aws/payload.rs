//! The hash of what a request carries.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

use super::sign;
use crate::http::Body;

/// # Errors
/// The file cannot be read, or became shorter.
pub(super) fn hash(body: &Body) -> io::Result<String> {
    match body {
        Body::Bytes(bytes) => Ok(sign::sha256(bytes)),
        Body::Part {
            file,
            start,
            length,
        } => hash_part(file, *start, *length),
        // What is no single piece is not hashed.
        Body::None | Body::Pieces(_) | Body::Stream(_) => Ok(sign::sha256(b"")),
    }
}

fn hash_part(file: &File, start: u64, length: u64) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut done = 0;
    while done < length {
        let most =
            usize::try_from(length - done).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = file.read_at(&mut buffer[..most], start + done)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hash.update(&buffer[..count]);
        done += count as u64;
    }
    Ok(sign::hex(&hash.finalize()))
}
