//! Bodies of HTTP, read up to a limit.
//!
//! Lambda has limits of its own, and axum's (2 MB) do not apply. What is too large is read to its end
//! all the same: a client that is still writing would not read its refusal.

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;

use super::refusal::Refusal;

/// Reads a body to its end, and keeps it if it has at most `limit_bytes`.
///
/// # Errors
/// When it is larger, or ends too soon.
pub(crate) async fn read_body(mut body: Body, limit_bytes: usize) -> Result<Bytes, Refusal> {
    let mut kept = Kept::Nothing;
    let mut is_too_large = false;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refusal::TRUNCATED)?.into_data() else {
            continue; // trailers
        };
        is_too_large |= data.len() > limit_bytes.saturating_sub(kept.len());
        if !is_too_large {
            kept.add(data);
        }
    }
    if is_too_large {
        Err(Refusal::TOO_LARGE)
    } else {
        Ok(kept.into_bytes())
    }
}

/// A body as far as it has come: most come in one part, which need not be copied.
enum Kept {
    Nothing,
    One(Bytes),
    Many(Vec<u8>),
}

impl Kept {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(part) => part.len(),
            Self::Many(parts) => parts.len(),
        }
    }

    fn add(&mut self, data: Bytes) {
        match self {
            Self::Nothing => *self = Self::One(data),
            Self::One(first) => {
                let mut parts = first.to_vec();
                parts.extend_from_slice(&data);
                *self = Self::Many(parts);
            }
            Self::Many(parts) => parts.extend_from_slice(&data),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(part) => part,
            Self::Many(parts) => parts.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use http_body_util::channel::Channel;

    use super::*;

    #[tokio::test]
    async fn body_is_kept_up_to_its_limit() {
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
    async fn body_in_parts_is_put_together() {
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
