//! Checksums of requests to S3.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Crc;
use sha2::{Digest, Sha256};

use std::os::unix::fs::FileExt;

use super::failure::Failure;
use super::table::{Operation, Service};
use super::value::Value;
use crate::aws::session::Operation as Request;
use crate::http::Body;

const BLOCK_BYTES: usize = 128 * 1024;

/// Adds the header that the operation needs, or that the parameter `ChecksumAlgorithm` asks for.
pub(super) fn add(
    service: &Service,
    operation: &Operation,
    parameters: &Value,
    request: &mut Request,
) -> Result<(), Failure> {
    let has_body = !matches!(request.body, Body::None) && operation.input.payload().is_some();
    let is_given = request.headers.iter().any(|(name, _)| {
        let name = name.to_ascii_lowercase();
        name == "content-md5"
            || (name.starts_with("x-amz-checksum-") && name != "x-amz-checksum-algorithm")
    });
    if service.command != "s3api" || !has_body || is_given {
        return Ok(());
    }
    let chosen = parameters.get("ChecksumAlgorithm").and_then(Value::as_text);
    let (name, sum) = match chosen {
        None if !operation.has_checksum => return Ok(()),
        None | Some("CRC32") => {
            let mut crc = Crc::new();
            each_block(&request.body, |block| crc.update(block))?;
            (
                "x-amz-checksum-crc32",
                STANDARD.encode(crc.sum().to_be_bytes()),
            )
        }
        Some("SHA256") => {
            let mut hash = Sha256::new();
            each_block(&request.body, |block| hash.update(block))?;
            ("x-amz-checksum-sha256", STANDARD.encode(hash.finalize()))
        }
        Some(other) => return Err(Failure::missing(&format!("the checksum {other}"))),
    };
    if chosen.is_none() {
        request.headers.push((
            "x-amz-sdk-checksum-algorithm".to_owned(),
            "CRC32".to_owned(),
        ));
    }
    request.headers.push((name.to_owned(), sum));
    Ok(())
}

fn each_block(body: &Body, mut take: impl FnMut(&[u8])) -> Result<(), Failure> {
    match body {
        Body::Bytes(bytes) => take(bytes),
        Body::Part {
            file,
            start,
            length,
        } => {
            let mut block = vec![0; BLOCK_BYTES];
            let mut done = 0;
            while done < *length {
                let most = usize::try_from(length - done)
                    .unwrap_or(BLOCK_BYTES)
                    .min(BLOCK_BYTES);
                let count = file
                    .read_at(&mut block[..most], start + done)
                    .map_err(|error| Failure::other(format!("cannot read the file: {error}")))?;
                if count == 0 {
                    break;
                }
                take(&block[..count]);
                done += count as u64;
            }
        }
        _ => {}
    }
    Ok(())
}
