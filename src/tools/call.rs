//! A call of a command: where it is made, and where its output goes.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, umask};
use nix::unistd::getpid;

use coshell_process::Message;

/// Output is written once there is this much of it, or before more input is waited for.
const MAX_BUFFERED: usize = 64 * 1024;

/// Waits until a descriptor that does not block is ready.
pub(crate) fn wait(file: &File, events: PollFlags) {
    let mut polled = [PollFd::new(file.as_fd(), events)];
    // After an interruption the caller tries again.
    let _ = poll(&mut polled, PollTimeout::NONE);
}

/// What a handler calls a command with.
#[derive(Debug)]
pub(crate) struct Call {
    pub place: Place,
    pub input: Option<File>,
    pub output: Option<File>,
    pub errors: Option<File>,
    /// What [`Place::path`] leads to, for as long as the call lasts.
    pub _standard: [Option<File>; 3],
    /// The exported variables that the command may read.
    pub environment: Vec<(String, String)>,
    pub arguments: Vec<Vec<u8>>,
}

/// What a call comes to.
#[derive(Debug, Default)]
pub(crate) struct End {
    pub status: i32,
    /// What could not be written, because its descriptor did not come.
    pub output: Vec<u8>,
    pub errors: Vec<u8>,
    /// The variable of the caller that takes the output.
    pub variable: String,
    /// How long the output may be kept if it is a value: `new|kept MILLISECONDS NAME`.
    pub lifetime: String,
}

impl Call {
    pub(crate) fn from(message: Message) -> Option<Self> {
        let mut fields = message.fields.into_iter().skip(2);
        let mut text = || String::from_utf8(fields.next()?).ok();
        let pid = text()?.parse().ok()?;
        let present = text()?;
        let count: usize = text()?.parse().ok()?;
        let environment = (0..count).map(|_| {
            let variable = String::from_utf8_lossy(&fields.next()?).into_owned();
            let (name, value) = variable.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        });
        let environment = environment.collect::<Option<_>>()?;
        let mut descriptors = message.descriptors.into_iter();
        let mut file = |digit| {
            let descriptor = present.contains(digit).then(|| descriptors.next());
            descriptor.flatten().map(File::from)
        };
        let standard = ['0', '1', '2'].map(&mut file);
        let numbers = standard
            .each_ref()
            .map(|file| file.as_ref().map(AsRawFd::as_raw_fd));
        let [input, output, errors] = standard
            .each_ref()
            .map(|file| file.as_ref()?.try_clone().ok());
        Some(Self {
            place: Place {
                pid,
                standard: Some(numbers),
            },
            input,
            output,
            errors,
            _standard: standard,
            environment,
            arguments: fields.collect(),
        })
    }
}

/// The process that calls: names of files are its.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pid: i32,
    /// Our numbers of its standard files. While bash waits for us it has other files there.
    standard: Option<[Option<RawFd>; 3]>,
}

impl Place {
    pub(crate) fn of_this_process() -> Self {
        Self {
            pid: getpid().as_raw(),
            standard: None,
        }
    }

    /// The path by which this process finds a file of the caller's.
    pub(crate) fn path(self, name: &Path) -> PathBuf {
        let path = coshell_process::path_of(self.pid, name);
        let Some(standard) = self.standard else {
            return path;
        };
        let folder = format!("/proc/{}/fd", self.pid);
        for (number, file) in ["0", "1", "2"].into_iter().zip(standard) {
            if path == Path::new(&folder).join(number) {
                // If it is closed, there is no such file.
                let file = file.map_or("closed".to_owned(), |file| file.to_string());
                return Path::new("/proc/self/fd").join(file);
            }
        }
        path
    }

    /// Files that this process makes from now on get the mode that they would get from the caller.
    pub(crate) fn take_umask(self) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let mut lines = status.lines();
        let mask = lines.find_map(|line| line.strip_prefix("Umask:"));
        if let Some(Ok(mask)) = mask.map(|mask| u32::from_str_radix(mask.trim(), 8)) {
            umask(Mode::from_bits_truncate(mask));
        }
    }

    pub(crate) fn read(self, name: &Path) -> io::Result<Vec<u8>> {
        fs::read(self.path(name))
    }
}

/// What a command writes its results and its complaints to.
#[derive(Debug)]
pub(crate) struct Output {
    output: RefCell<Sink>,
    errors: RefCell<Sink>,
    /// Why the output cannot be written.
    broken: RefCell<Option<io::Error>>,
}

#[derive(Debug)]
struct Sink {
    file: Option<File>,
    text: Vec<u8>,
    /// How many bytes went before `text`.
    written: usize,
}

impl Sink {
    fn new(file: Option<File>) -> Self {
        Self {
            file,
            text: Vec::new(),
            written: 0,
        }
    }

    /// Writes what there is. A text without a file stays.
    fn flush(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let mut rest = &self.text[..];
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(file, PollFlags::POLLOUT);
                }
                Err(error) => {
                    self.text.clear();
                    return Err(error);
                }
            }
        }
        self.written += self.text.len();
        self.text.clear();
        Ok(())
    }
}

impl Output {
    pub(crate) fn new(output: Option<File>, errors: Option<File>) -> Self {
        Self {
            output: RefCell::new(Sink::new(output)),
            errors: RefCell::new(Sink::new(errors)),
            broken: RefCell::default(),
        }
    }

    /// Lets `write` add to the output. Returns false if it cannot be written.
    pub(crate) fn write(&self, write: impl FnOnce(&mut Vec<u8>), is_urgent: bool) -> bool {
        let mut output = self.output.borrow_mut();
        write(&mut output.text);
        let is_full = output.text.len() > MAX_BUFFERED;
        drop(output);
        (!is_full && !is_urgent) || self.flush()
    }

    pub(crate) fn flush(&self) -> bool {
        let flushed = self.output.borrow_mut().flush();
        match flushed {
            Ok(()) => self.broken.borrow().is_none(),
            Err(error) => {
                self.broken.borrow_mut().get_or_insert(error);
                false
            }
        }
    }

    /// How many bytes the output has so far.
    pub(crate) fn length(&self) -> usize {
        let output = self.output.borrow();
        output.written + output.text.len()
    }

    /// Takes back what came after the first `length` bytes. Returns false if some of it is written already.
    pub(crate) fn truncate(&self, length: usize) -> bool {
        let mut output = self.output.borrow_mut();
        let kept = length.checked_sub(output.written);
        output.text.truncate(kept.unwrap_or(usize::MAX));
        kept.is_some()
    }

    /// Writes to standard error, after the output that came before.
    pub(crate) fn write_error(&self, text: &[u8]) {
        self.flush();
        let mut errors = self.errors.borrow_mut();
        errors.text.extend_from_slice(text);
        // What cannot be written to standard error is lost, as with any program.
        let _ = errors.flush();
    }

    /// Why the output could not be written.
    pub(crate) fn broken(&self) -> Option<io::Error> {
        self.broken.take()
    }

    /// Writes what is left. If the output could not be written, says so in the name of `command`, and returns why. A closed pipe
    /// ends a program without a word.
    pub(crate) fn finish(&self, command: &str) -> Option<io::ErrorKind> {
        self.flush();
        let error = self.broken()?;
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.write_error(format!("{command}: cannot write the output: {error}\n").as_bytes());
        }
        Some(error.kind())
    }

    pub(crate) fn end(self, status: i32) -> End {
        End {
            status,
            output: self.output.into_inner().text,
            errors: self.errors.into_inner().text,
            variable: String::new(),
            lifetime: String::new(),
        }
    }
}
