//! Reads the body of an HTTP request up to a limit.
//!
//! Lambda's limits apply here, not axum's 2 MB. A body that is too large is read to its end all the same, because a
//! client does not read the response while it is still writing.

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;

use super::refusal::Refusal;

/// # Errors
/// When the body has more than `limit_bytes`, or ends too soon.
pub(crate) async fn read_body(mut body: Body, limit_bytes: usize) -> Result<Bytes, Refusal> {
    let mut buffer = BodyBuffer::Empty;
    let mut is_too_large = false;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refusal::TRUNCATED)?.into_data() else {
            continue; // trailers
        };
        is_too_large |= data.len() > limit_bytes.saturating_sub(buffer.len());
        if !is_too_large {
            buffer.push(data);
        }
    }
    if is_too_large {
        Err(Refusal::TOO_LARGE)
    } else {
        Ok(buffer.into_bytes())
    }
}

/// The parts of a body that have arrived. Most bodies arrive in a single part, which is not copied.
enum BodyBuffer {
    Empty,
    Single(Bytes),
    Joined(Vec<u8>),
}

impl BodyBuffer {
    fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Single(part) => part.len(),
            Self::Joined(parts) => parts.len(),
        }
    }

    fn push(&mut self, data: Bytes) {
        match self {
            Self::Empty => *self = Self::Single(data),
            Self::Single(first) => {
                let mut parts = first.to_vec();
                parts.extend_from_slice(&data);
                *self = Self::Joined(parts);
            }
            Self::Joined(parts) => parts.extend_from_slice(&data),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::Single(part) => part,
            Self::Joined(parts) => parts.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use http_body_util::channel::Channel;

    use super::*;

    #[tokio::test]
    async fn body_is_accepted_up_to_the_limit() {
        assert_eq!(
            read_body(Body::from("1234"), 4).await,
            Ok(Bytes::from_static(b"1234"))
        );
        assert_eq!(
            read_body(Body::from("12345"), 4).await,
            Err(Refusal::TOO_LARGE)
        );
        assert_eq!(read_body(Body::empty(), 4).await, Ok(Bytes::new()));
    }

    #[tokio::test]
    async fn parts_of_a_body_are_joined() {
        let (mut sender, body) = Channel::<Bytes, io::Error>::new(3);
        for part in ["12", "34", "5"] {
            assert!(
                sender
                    .send_data(Bytes::from_static(part.as_bytes()))
                    .await
                    .is_ok()
            );
        }
        drop(sender);
        assert_eq!(
            read_body(Body::new(body), 5).await,
            Ok(Bytes::from_static(b"12345"))
        );
    }
}
