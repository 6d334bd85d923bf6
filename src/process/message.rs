//! Messages between two processes of ours: fields of bytes, and descriptors.
//!
//! ```text
//! packet: 0 fields        or, if they are long:  1, and the fields are in the first descriptor, a memory file
//! field:  length (8 bytes, little-endian) bytes
//! ```

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};

use crate::{memory_file, sys};

/// Fields that are longer together go into a memory file.
const MAX_INLINE_BYTES: usize = 16 * 1024;
/// The most descriptors in a message, the memory file among them.
const MAX_DESCRIPTORS: usize = 8;
const INLINE: u8 = 0;
const IN_FILE: u8 = 1;

/// What one process sends to the other.
#[derive(Debug, Default)]
pub struct Message {
    pub fields: Vec<Vec<u8>>,
    pub descriptors: Vec<OwnedFd>,
}

/// The two ends of a connection.
///
/// # Errors
/// The system's, if there is no descriptor left.
pub fn message_sockets() -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = (AddressFamily::Unix, SockType::SeqPacket);
    Ok(socketpair(kind.0, kind.1, None, SockFlag::SOCK_CLOEXEC)?)
}

impl Message {
    /// Sends fields and copies of descriptors. Waits while the other process does not read.
    ///
    /// # Errors
    /// `EPIPE` or `ECONNRESET` if the other process is gone.
    pub fn send(
        socket: BorrowedFd,
        fields: &[&[u8]],
        descriptors: &[BorrowedFd],
    ) -> io::Result<()> {
        let length: usize = fields.iter().map(|field| field.len() + 8).sum();
        let mut text = Vec::with_capacity(length + 1);
        let mut file = None;
        if length > MAX_INLINE_BYTES {
            text.push(IN_FILE);
            let mut memory = memory_file(c"message")?;
            for field in fields {
                memory.write_all(&(field.len() as u64).to_le_bytes())?;
                memory.write_all(field)?;
            }
            file = Some(memory);
        } else {
            text.push(INLINE);
            for field in fields {
                text.extend_from_slice(&(field.len() as u64).to_le_bytes());
                text.extend_from_slice(field);
            }
        }
        let file = file.as_ref().map(AsFd::as_fd);
        let numbers: Vec<_> = file
            .iter()
            .chain(descriptors)
            .map(AsRawFd::as_raw_fd)
            .collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let rights = if numbers.is_empty() { &[][..] } else { &rights };
        let parts = [IoSlice::new(&text)];
        loop {
            match sendmsg::<()>(
                socket.as_raw_fd(),
                &parts,
                rights,
                MsgFlags::MSG_NOSIGNAL,
                None,
            ) {
                Err(Errno::EINTR) => {}
                sent => return Ok(sent.map(drop)?),
            }
        }
    }

    /// Waits for the next message; `None` if the other process is gone.
    ///
    /// # Errors
    /// The system's, or what came is no message.
    pub fn receive(socket: BorrowedFd) -> io::Result<Option<Self>> {
        let mut text = vec![0; MAX_INLINE_BYTES + 1];
        let mut space = nix::cmsg_space!([i32; MAX_DESCRIPTORS]);
        let mut descriptors = Vec::new();
        let length = loop {
            let mut parts = [IoSliceMut::new(&mut text)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags) {
                Ok(received) => {
                    for message in received.cmsgs()? {
                        if let ControlMessageOwned::ScmRights(numbers) = message {
                            descriptors.extend(sys::own_received(&numbers));
                        }
                    }
                    break received.bytes;
                }
                Err(Errno::EINTR) => {}
                Err(Errno::ECONNRESET) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        };
        text.truncate(length);
        let bytes = match text.split_first() {
            None => return Ok(None),
            Some((&IN_FILE, _)) if !descriptors.is_empty() => {
                let mut file = File::from(descriptors.remove(0));
                let mut bytes = Vec::new();
                file.rewind()?;
                file.read_to_end(&mut bytes)?;
                bytes
            }
            Some((_, rest)) => rest.to_vec(),
        };
        let fields = split(&bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some(Self {
            fields,
            descriptors,
        }))
    }
}

fn split(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut fields = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (field, rest) = rest.split_at_checked(length)?;
        fields.push(field.to_vec());
        bytes = rest;
    }
    bytes.is_empty().then_some(fields)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_descriptors_arrive_also_if_they_are_long() {
        let (one, other) = message_sockets().unwrap();
        let mut file = memory_file(c"test").unwrap();
        file.write_all(b"content").unwrap();
        for length in [0, 1, MAX_INLINE_BYTES, 3_000_000] {
            let long = vec![b'x'; length];
            Message::send(one.as_fd(), &[b"a", b"", &long], &[file.as_fd()]).unwrap();
            let message = Message::receive(other.as_fd()).unwrap().unwrap();
            assert_eq!(message.fields, [b"a".to_vec(), Vec::new(), long]);
            let mut copy = File::from(message.descriptors.into_iter().next().unwrap());
            copy.rewind().unwrap();
            let mut text = String::new();
            copy.read_to_string(&mut text).unwrap();
            assert_eq!(text, "content");
        }
        drop(one);
        assert!(Message::receive(other.as_fd()).unwrap().is_none());
    }
}
