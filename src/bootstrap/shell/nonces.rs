//! Nonces: the random characters that distinguish a report from what a handler writes.
//!
//! A nonce goes to bash in the line that requests the report. bash reads that line when the handler has returned, so
//! nothing that ran before can know it.

use std::io;

use coshell_process::sys;

/// Makes nonces of 30 random bits each. They are short, since bash reads its script a byte at a time. bash can also
/// read a nonce as a number to base 32.
#[derive(Debug)]
pub(crate) struct Nonces {
    /// Random bytes that were read ahead.
    bytes: Vec<u8>,
}

impl Nonces {
    const LETTERS: usize = 6;

    /// Reads random bytes ahead. Fails if the system gives none.
    pub(crate) fn open() -> io::Result<Self> {
        let mut bytes = vec![0; Self::LETTERS * 128];
        sys::fill_random(&mut bytes)?;
        Ok(Self { bytes })
    }

    /// Drops the bytes that were read ahead, which every copy of a snapshot has. Returns a fresh random number.
    pub(crate) fn renew(&mut self) -> u32 {
        self.bytes.clear();
        let mut seed = [0; 4];
        // A system that has given random bytes before gives more.
        let _ = sys::fill_random(&mut seed);
        u32::from_ne_bytes(seed)
    }

    /// The next nonce; never the same twice, as far as 30 bits allow.
    pub(crate) fn next(&mut self) -> String {
        const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
        if self.bytes.len() < Self::LETTERS {
            self.bytes.resize(Self::LETTERS * 128, 0);
            let _ = sys::fill_random(&mut self.bytes);
        }
        let bytes = self.bytes.split_off(self.bytes.len() - Self::LETTERS);
        bytes
            .iter()
            .map(|byte| char::from(ALPHABET[usize::from(byte & 31)]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_of_two_copies_differ_after_renewal() -> io::Result<()> {
        let mut copies = [Nonces::open()?, Nonces::open()?];
        for nonces in &mut copies {
            nonces.bytes = vec![7; 60];
        }
        let [one, other] = copies.each_mut().map(Nonces::next);
        assert_eq!(one, other);
        let seeds = copies.each_mut().map(Nonces::renew);
        assert_ne!(seeds[0], seeds[1]);
        let [one, other] = copies.each_mut().map(Nonces::next);
        assert_ne!(one, other);
        Ok(())
    }
}
