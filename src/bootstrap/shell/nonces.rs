//! The marks by which a report is told from what a handler writes.
//!
//! A mark goes to bash in the line that asks for the report, so nothing that ran before can hold it.

use std::io;

use coshell_process::sys;

/// Marks that no handler can guess: 30 random bits each, and told to nobody before they are
/// used. Short, since bash reads its script a byte at a time. To bash it is a number as well, to base 32.
#[derive(Debug)]
pub(crate) struct Nonces {
    /// Random ones, read ahead.
    bytes: Vec<u8>,
}

impl Nonces {
    const LETTERS: usize = 6;

    /// Reads the first ones ahead.
    ///
    /// # Errors
    /// The system's, when it gives no random bytes.
    pub(crate) fn open() -> io::Result<Self> {
        let mut bytes = vec![0; Self::LETTERS * 128];
        sys::fill_random(&mut bytes)?;
        Ok(Self { bytes })
    }

    /// Forgets what was read ahead, which a copy of this process has too; a random number.
    pub(crate) fn renew(&mut self) -> u32 {
        self.bytes.clear();
        let mut seed = [0; 4];
        // A source that has given some does not run dry or break.
        let _ = sys::fill_random(&mut seed);
        u32::from_ne_bytes(seed)
    }

    /// One that was not used before.
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
    fn marks_of_two_copies_differ_once_they_are_renewed() -> io::Result<()> {
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
