//! Reads what the shell writes to its control pipe, as `from_shell.rs` describes it.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::ops::Range;

use memchr::{memchr, memmem};

use super::from_shell::{FromShell, OpenRecord, OpenReport, read_record};
use super::load_report::{LoadReport, find_disabled_builtin};
use coshell_process::sys;

/// No field is longer.
const MAX_FIELD_BYTES: usize = 1024 * 1024;
/// A read stops after this much, even if the pipe holds more.
const MAX_READ_BYTES: usize = 64 * 1024;

/// A nonce that was written to bash, and what it stands for when it comes back.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Awaited<'a> {
    /// The load report.
    Load(&'a str),
    /// The report of a call.
    Report(&'a str),
    /// That a line has been run.
    Done(&'a str),
}

/// Reads the messages of a shell.
#[derive(Debug, Default)]
pub(crate) struct ShellReader {
    bytes: Vec<u8>,
    /// Where the first field begins that has not been read.
    field: usize,
    /// Before this index, that field has no NUL.
    searched: usize,
    /// The records that have begun, the oldest first. More than one is there only if the handler wrote some of them.
    open: Vec<OpenRecord>,
    /// The report that has begun.
    report: Option<OpenReport>,
    /// The EXIT trap that the shell had at first, as `trap -p` prints it. Any other is the handler's.
    initial_trap: Vec<u8>,
    /// A builtin that the driver needs and that the file has switched off.
    disabled_builtin: Option<&'static str>,
}

impl ShellReader {
    /// A reader for a shell whose own EXIT trap is `initial_trap`, as `trap -p` prints it.
    pub(crate) fn new(initial_trap: Vec<u8>) -> Self {
        Self {
            initial_trap,
            ..Self::default()
        }
    }

    /// Sets the EXIT trap that the shell had at first.
    pub(crate) fn set_initial_trap(&mut self, trap: Vec<u8>) {
        self.initial_trap = trap;
    }

    /// The EXIT trap that the shell had at first; empty if it is unknown.
    pub(crate) fn initial_trap(&self) -> &[u8] {
        &self.initial_trap
    }

    /// Blocks until the pipe has something, and reads it. Returns 0 at the end of the pipe.
    pub(crate) fn read(&mut self, pipe: &mut File) -> io::Result<usize> {
        let mut piece = [0; 4096];
        let mut total = 0;
        loop {
            let count = match pipe.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read?,
            };
            self.push(&piece[..count]);
            total += count;
            if count < piece.len() || total >= MAX_READ_BYTES || sys::bytes_ready(&*pipe) == 0 {
                return Ok(total);
            }
        }
    }

    /// Takes bytes that the shell wrote.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.bytes.drain(..self.field);
        self.searched -= self.field;
        self.field = 0;
        self.bytes.extend_from_slice(piece);
        if self.bytes.len() > MAX_FIELD_BYTES {
            // Half of it at once: moving the rest for every piece would cost more than reading it.
            let old = self.bytes.len() - MAX_FIELD_BYTES / 2;
            self.bytes.drain(..old);
            self.searched = self.searched.saturating_sub(old);
        }
    }

    /// Returns the next message. Returns `None` if there is none yet: then more bytes are needed.
    pub(crate) fn next(&mut self, awaited: &[Awaited]) -> Option<FromShell> {
        loop {
            let Some(length) = memchr(b'\0', &self.bytes[self.searched..]) else {
                self.searched = self.bytes.len();
                return None;
            };
            let end = self.searched + length;
            let message = self.read_field(self.field..end, awaited);
            self.field = end + 1;
            self.searched = self.field;
            if message.is_some() {
                return message;
            }
        }
    }

    fn read_field(&mut self, field: Range<usize>, awaited: &[Awaited]) -> Option<FromShell> {
        let field = &self.bytes[field];
        if self
            .report
            .as_ref()
            .is_some_and(|report| report.ends_with(field))
        {
            return self.report.take().map(OpenReport::finish);
        }
        if let Some(awaited) = awaited.iter().find(|awaited| awaited.is_in(field)) {
            // Nothing reaches into what has a nonce.
            self.open.clear();
            self.report = None;
            return match *awaited {
                Awaited::Load(nonce) => LoadReport::parse(field, nonce).map(FromShell::Loaded),
                Awaited::Done(_) => Some(FromShell::Done),
                Awaited::Report(nonce) => {
                    self.report = Some(OpenReport::new(field, nonce, &self.initial_trap));
                    None
                }
            };
        }
        if let Some(report) = &mut self.report {
            // What is too long is left out.
            report.fields.push(field);
            return None;
        }
        if matches!(awaited, [Awaited::Load(_)]) {
            self.disabled_builtin = self
                .disabled_builtin
                .or_else(|| find_disabled_builtin(field));
        }
        read_record(field, &mut self.open)
    }

    /// The builtin that the driver needs and the file has switched off, if bash has listed one.
    pub(crate) fn disabled_builtin(&self) -> Option<&'static str> {
        self.disabled_builtin
            .or_else(|| find_disabled_builtin(&self.bytes[self.field..]))
    }
}

impl Awaited<'_> {
    /// Whether the nonce is at the end of `field`; in a load report it has words behind it. Anything may stand before it: a
    /// DEBUG trap of the handler may even print our lines, nonce included.
    fn is_in(&self, field: &[u8]) -> bool {
        match *self {
            Self::Load(nonce) => memmem::rfind(field, nonce.as_bytes()).is_some(),
            Self::Report(nonce) | Self::Done(nonce) => field.ends_with(nonce.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::unistd::Pid;

    use super::super::from_shell::{MAX_OPEN_RECORDS, MAX_RECORD_BYTES};
    use super::super::load_report::disabled_cause;
    use super::super::report::{ExitTrace, Report};
    use super::*;
    use crate::response::ResponseRequest;

    const TRAP: &[u8] = b"trap -- 'ours' EXIT\n";
    const NONCE: &str = "k3nf0q";
    const END: &str = "9v2xq1";
    const AWAITED: [Awaited; 2] = [Awaited::Report(NONCE), Awaited::Report(END)];

    /// What a shell and its fork could write, and the messages in it.
    fn conversation() -> (Vec<u8>, Vec<FromShell>) {
        let request = |kind: &str, arguments: &[&str], argument_count| {
            FromShell::Request(ResponseRequest {
                request_id: "id".to_owned(),
                place: "f.sh:3".to_owned(),
                kind: kind.to_owned(),
                arguments: arguments.iter().map(|&text| text.to_owned()).collect(),
                argument_count,
            })
        };
        let trace = |fields: &[&str]| {
            let fields: Vec<_> = fields.iter().map(|&field| field.to_owned()).collect();
            FromShell::ExitTrace(ExitTrace::from_fields(&fields))
        };
        let report = |nonce: &str, fields: &[&str], has_exit_trap| FromShell::Report {
            nonce: nonce.to_owned(),
            report: Report::from_fields(
                fields.iter().map(|&field| field.to_owned()).collect(),
                has_exit_trap,
            ),
        };
        let parts: Vec<(&[u8], Option<FromShell>)> = vec![
            (b"older 4.2\0", Some(FromShell::Older("4.2".to_owned()))),
            (b"started\0", Some(FromShell::Started)),
            (b"waiting\x001234\0", Some(FromShell::ForkWaits(Pid::from_raw(1234)))),
            // A handler that writes to the pipe itself.
            (b"noise\nwaiting\0x\0respond\0-1\0respond\x002\0id\0died\0died\0respond\x009\0a\0", None),
            (b"some textrespond\x005\0id\0f.sh:3\0http\x00200\0A: b\0", Some(request("http", &["200", "A: b"], 2))),
            (b"respond\x009000\0id\0f.sh:3\0http\0", Some(request("http", &[], 8997))),
            (b"too many\0", None),
            (b"respond\x005\0id\0f.sh:3\0error\0T\0died\0", Some(request("error", &["T", "died"], 2))),
            (b"died\0errexit\x001\0f.sh:2\0died\x000 1 \0handler f.sh:4\0died\0", Some(trace(&["errexit", "1", "f.sh:2", "died", "0 1 ", "handler f.sh:4"]))),
            // A DEBUG trap of the handler prints our line. The handler in a fork knows the nonce.
            (b",, \"$?\" k3nf0q\nk3nf0q\0", None),
            (b"trap -- 'its own' EXIT\nk3nf0q\0return\x003\0k3nf0q\0", Some(report(NONCE, &["return", "3"], true))),
            (b"k3nf0q\0return\0", None),
            (b"trap -- 'ours' EXIT\n9v2xq1\0errexit\x002\0false\x002 \0handler f.sh:7\x009v2xq1\0", Some(report(END, &["errexit", "2", "false", "2 ", "handler f.sh:7"], false))),
        ];
        let bytes = parts
            .iter()
            .flat_map(|(bytes, _)| *bytes)
            .copied()
            .collect();
        let messages = parts
            .into_iter()
            .filter_map(|(_, message)| message)
            .collect();
        (bytes, messages)
    }

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<FromShell> {
        let mut reader = ShellReader::new(TRAP.to_vec());
        let mut messages = Vec::new();
        for piece in pieces {
            reader.push(piece);
            messages.extend(std::iter::from_fn(|| reader.next(&AWAITED)));
        }
        messages
    }

    /// Numbers that look random, the same each time.
    fn numbers() -> impl FnMut(usize) -> usize {
        let mut state: u64 = 19;
        move |below| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(state >> 33).unwrap_or_default() % below
        }
    }

    #[test]
    fn messages_are_the_same_however_their_bytes_arrive() {
        let (bytes, messages) = conversation();
        assert_eq!(read([&bytes[..]]), messages);
        assert_eq!(read(bytes.chunks(1)), messages);
        for split in 0..bytes.len() {
            let (before, after) = bytes.split_at(split);
            assert_eq!(read([before, after]), messages, "{split}");
        }
        let mut number = numbers();
        for _ in 0..1000 {
            let mut rest = &bytes[..];
            let pieces = std::iter::from_fn(|| {
                let (piece, after) = rest.split_at(number(rest.len() + 1).min(40));
                rest = after;
                (!piece.is_empty() || !rest.is_empty()).then_some(piece)
            });
            assert_eq!(read(pieces), messages);
        }
    }

    #[test]
    fn message_comes_as_soon_as_it_is_complete_and_not_before() {
        let (bytes, messages) = conversation();
        for length in 0..bytes.len() {
            let some = read([&bytes[..length]]);
            assert_eq!(some, messages[..some.len()], "{length}");
        }
        assert_eq!(read([&bytes[..bytes.len() - 1]]).len(), messages.len() - 1);
    }

    #[test]
    fn report_is_read_whatever_a_handler_wrote_before() {
        let words: [&[u8]; 12] = [
            b"respond", b"died", b"waiting", b"started", b"older 1", b"return", b"5", b"9999999",
            b"\n", b"\0", b"\0", b"\xff",
        ];
        let report = b"\0trap -- 'ours' EXIT\nk3nf0q\0exit\x004\0k3nf0q\0";
        let mut number = numbers();
        for _ in 0..3000 {
            let mut bytes = Vec::new();
            for _ in 0..number(60) {
                bytes.extend_from_slice(words[number(words.len())]);
            }
            bytes.extend_from_slice(report);
            let mut messages = read(bytes.chunks(1 + number(bytes.len())));
            let fields = ["exit", "4"].map(str::to_owned).to_vec();
            let report = FromShell::Report {
                nonce: NONCE.to_owned(),
                report: Report::from_fields(fields, false),
            };
            assert_eq!(messages.pop(), Some(report), "{bytes:?}");
        }
    }

    #[test]
    fn reader_keeps_a_bounded_number_of_bytes() {
        for noise in [
            &[b'x'; 4096][..],
            &b"respond\x004096\0".repeat(300),
            &b"died\0return\0".repeat(300),
        ] {
            let mut reader = ShellReader::default();
            for _ in 0..2000 {
                reader.push(noise);
                while reader.next(&AWAITED).is_some() {}
                let open: usize = reader.open.iter().map(|record| record.fields.bytes).sum();
                assert!(reader.bytes.len() <= MAX_FIELD_BYTES + noise.len());
                assert!(open <= MAX_OPEN_RECORDS * MAX_RECORD_BYTES);
            }
            reader.push(b"k3nf0q\0return\x000\0k3nf0q\0");
            let message = reader.next(&AWAITED);
            assert!(matches!(message, Some(FromShell::Report { .. })));
        }
    }

    #[test]
    fn load_report_names_a_builtin_that_is_switched_off() {
        let mut reader = ShellReader::default();
        let awaited = [Awaited::Load(NONCE)];
        reader.push(b"noise\0k3nf0q ready 0 5.2 shutdown\0");
        let ready = LoadReport::Ready {
            status: 0,
            version: (5, 2),
            has_shutdown: true,
        };
        assert_eq!(reader.next(&awaited), Some(FromShell::Loaded(ready)));
        assert_eq!(reader.disabled_builtin(), None);
        for rest in [&b"k3nf0q ready 0 5.2\0"[..], b"died\0", b""] {
            let mut reader = ShellReader::default();
            reader.push(b"enable -n test\nenable -n mapfile\n");
            reader.push(rest);
            if let Some(FromShell::Loaded(report)) = reader.next(&awaited) {
                let cause = disabled_cause("mapfile");
                assert_eq!(report, LoadReport::Unusable(cause));
            } else {
                assert_eq!(reader.disabled_builtin(), Some("mapfile"));
            }
        }
    }
}
