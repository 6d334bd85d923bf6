//! What is known of AWS's services: operations, and the types of their parameters and results.
//!
//! `make-services` writes one text a service. Its first line is the service, then come operations, waiters and structures:
//!
//! ```text
//! COMMAND PROTOCOL ENDPOINT-PREFIX SIGNING-NAME ENDPOINT-VARIABLE VERSION DETAIL
//! OPERATION[=COMMAND] METHOD PATH INPUT OUTPUT [MARK...]
//! @WAITER <tab> NAME <tab> COMMAND <tab> SECONDS <tab> TRIES <tab> STATE MATCHER EXPECTED [EXPRESSION] <tab> ...
//! $STRUCTURE MEMBER...
//!
//! DETAIL   of the protocol json: version|prefix of X-Amz-Target; of the others: the XML namespace, or -
//! MARK     wrapper=ELEMENT around a result, root=ELEMENT of a request, unsigned, checksum, host=PREFIX,
//!          of pages: in=TOKEN,... out=TOKEN,... results=KEY,... limit=MEMBER more=KEY once=KEY,...
//! MEMBER   NAME[/ARGUMENT][!][#][@PLACE][=WIRE][|QUERY]:TYPE         ! required  # a token to make up if it is not given
//! PLACE    u path, q query, h header, H headers with this prefix, s status, a XML attribute, p the whole body; then its name
//! TYPE     s string  i integer  l long  f float  d double  b boolean  y bytes  Y a file  t[iur] timestamp  $STRUCTURE
//!          [[~][WIRE:]TYPE] list  {[~][KEY,VALUE:]TYPE} map           ~ flat; after the type >N, the least length or value
//! ```

mod shape;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

use flate2::read::DeflateDecoder;

use self::shape::member;
pub(crate) use self::shape::{Kind, List, Map, Member, Place, Shape, Structure, TimestampFormat};
use super::names::argument_of;
use crate::aws::endpoint::Target;
use crate::local_time::LocalTime;

/// Name, length and compressed text of each service, sorted by name. See build/main.rs.
static SERVICES: &[(&str, usize, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/services.rs"));

/// The texts of the services that were called, for the next call.
static TEXTS: Mutex<BTreeMap<&str, &'static str>> = Mutex::new(BTreeMap::new());

/// How requests and answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Json,
    RestJson,
    Query,
    Ec2,
    RestXml,
}

/// One service.
#[derive(Debug)]
pub(crate) struct Service {
    /// As the command line names it, such as `s3api`.
    pub command: &'static str,
    pub protocol: Protocol,
    endpoint_prefix: &'static str,
    signing_name: &'static str,
    endpoint_variable: &'static str,
    pub version: &'static str,
    detail: &'static str,
    operations: Vec<&'static str>,
    waiters: Vec<&'static str>,
    texts: HashMap<&'static str, &'static str>,
    structures: RefCell<HashMap<&'static str, Rc<Structure>>>,
    /// The caller's, for results.
    pub zone: Option<LocalTime>,
}

/// One operation of a service.
#[derive(Debug)]
pub(crate) struct Operation {
    /// As the API spells it, such as `GetParameter`.
    pub name: &'static str,
    pub method: &'static str,
    pub path: &'static str,
    pub input: Rc<Structure>,
    pub output: Rc<Structure>,
    pub wrapper: Option<&'static str>,
    pub root: Option<&'static str>,
    pub is_unsigned: bool,
    pub has_checksum: bool,
    pub host_prefix: Option<&'static str>,
    pub pages: Option<Pages>,
}

/// An operation that is repeated until its result is what is waited for.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub name: &'static str,
    pub command: &'static str,
    pub delay_seconds: u64,
    pub max_tries: u32,
    pub acceptors: Vec<Acceptor>,
}

/// What ends the waiting, or not.
#[derive(Debug)]
pub(crate) struct Acceptor {
    /// `success`, `failure` or `retry`.
    pub state: &'static str,
    /// `path`, `pathAll`, `pathAny`, `status` or `error`.
    pub matcher: &'static str,
    /// JSON.
    pub expected: &'static str,
    /// `JMESPath`, for the first three.
    pub expression: &'static str,
}

/// How an operation gives its results in pages.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    pub input_tokens: Vec<&'static str>,
    /// `JMESPath`, as the results and the others.
    pub output_tokens: Vec<&'static str>,
    pub results: Vec<&'static str>,
    pub limit: Option<&'static str>,
    pub more: Option<&'static str>,
    /// Keys that come from the first page alone.
    pub once: Vec<&'static str>,
}

impl Service {
    /// The service with this command.
    pub(crate) fn find(command: &str) -> Option<Self> {
        let at = SERVICES
            .binary_search_by_key(&command, |(name, ..)| name)
            .ok()?;
        let (name, length, compressed) = SERVICES.get(at)?;
        let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = texts.get(name) {
            return Self::parse(text);
        }
        let mut text = String::with_capacity(*length);
        DeflateDecoder::new(*compressed)
            .read_to_string(&mut text)
            .ok()?;
        // Once for each service in the life of the process.
        let text: &'static str = text.leak();
        texts.insert(name, text);
        Self::parse(text)
    }

    /// The commands of all services.
    pub(crate) fn commands() -> impl Iterator<Item = &'static str> {
        SERVICES.iter().map(|(name, ..)| *name)
    }

    fn parse(text: &'static str) -> Option<Self> {
        let mut lines = text.lines();
        let mut words = lines.next()?.split(' ');
        let command = words.next()?;
        let protocol = match words.next()? {
            "json" => Protocol::Json,
            "rest-json" => Protocol::RestJson,
            "query" => Protocol::Query,
            "ec2" => Protocol::Ec2,
            _ => Protocol::RestXml,
        };
        let mut service = Self {
            command,
            protocol,
            endpoint_prefix: words.next()?,
            signing_name: words.next()?,
            endpoint_variable: words.next()?,
            version: words.next()?,
            detail: words.next()?,
            operations: Vec::new(),
            waiters: Vec::new(),
            texts: HashMap::new(),
            structures: RefCell::default(),
            zone: None,
        };
        for line in lines {
            if line.starts_with('$') {
                let (name, members) = line.split_once(' ').unwrap_or((line, ""));
                service.texts.insert(&name[1..], members);
            } else if let Some(waiter) = line.strip_prefix('@') {
                service.waiters.push(waiter);
            } else {
                service.operations.push(line);
            }
        }
        Some(service)
    }

    pub(crate) fn target(&self) -> Target<'static> {
        Target {
            endpoint_prefix: self.endpoint_prefix,
            signing_name: self.signing_name,
            endpoint_variable: self.endpoint_variable,
        }
    }

    /// Of the protocol json: its version, and the prefix of `X-Amz-Target`.
    pub(crate) fn json_target(&self) -> (&'static str, &'static str) {
        self.detail.split_once('|').unwrap_or(("1.0", ""))
    }

    /// The namespace of XML in requests.
    pub(crate) fn namespace(&self) -> Option<&'static str> {
        Some(self.detail).filter(|detail| *detail != "-")
    }

    fn commands_of_operations(&self) -> impl Iterator<Item = (String, &'static str)> {
        self.operations.iter().map(|line| {
            let name = line.split(' ').next().unwrap_or_default();
            match name.split_once('=') {
                Some((_, command)) => (command.to_owned(), *line),
                None => (argument_of(name), *line),
            }
        })
    }

    pub(crate) fn operation_commands(&self) -> impl Iterator<Item = String> {
        self.commands_of_operations().map(|(command, _)| command)
    }

    /// The operation with this command.
    pub(crate) fn operation(&self, command: &str) -> Option<Operation> {
        let mut operations = self.commands_of_operations();
        let (_, line) = operations.find(|(name, _)| name == command)?;
        self.parse_operation(line)
    }

    pub(crate) fn waiter_names(&self) -> impl Iterator<Item = &'static str> {
        let names = self.waiters.iter().map(|line| line.split('\t').next());
        names.map(Option::unwrap_or_default)
    }

    /// The waiter of this name.
    pub(crate) fn waiter(&self, name: &str) -> Option<Waiter> {
        let mut waiters = self.waiters.iter();
        let line = waiters.find(|line| line.split('\t').next() == Some(name))?;
        let mut fields = line.split('\t').skip(1);
        Some(Waiter {
            name: fields.next()?,
            command: fields.next()?,
            delay_seconds: fields.next()?.parse().ok()?,
            max_tries: fields.next()?.parse().ok()?,
            acceptors: fields.map(acceptor).collect::<Option<_>>()?,
        })
    }

    fn parse_operation(&self, line: &'static str) -> Option<Operation> {
        let mut words = line.split(' ');
        let name = words.next()?.split('=').next()?;
        let (method, path) = (words.next()?, words.next()?);
        let mut structure = || {
            let name = words.next()?.strip_prefix('$');
            Some(name.map(|name| self.structure(name)).unwrap_or_default())
        };
        let mut operation = Operation {
            name,
            method,
            path,
            input: structure()?,
            output: structure()?,
            wrapper: None,
            root: None,
            is_unsigned: false,
            has_checksum: false,
            host_prefix: None,
            pages: None,
        };
        for word in words {
            let (mark, text) = word.split_once('=').unwrap_or((word, ""));
            let texts = || text.split(',').filter(|text| !text.is_empty()).collect();
            match mark {
                "wrapper" => operation.wrapper = Some(text),
                "root" => operation.root = Some(text),
                "unsigned" => operation.is_unsigned = true,
                "checksum" => operation.has_checksum = true,
                "host" => operation.host_prefix = Some(text),
                _ => {
                    let pages = operation.pages.get_or_insert_default();
                    match mark {
                        "in" => pages.input_tokens = texts(),
                        "out" => pages.output_tokens = texts(),
                        "results" => pages.results = texts(),
                        "limit" => pages.limit = Some(text),
                        "more" => pages.more = Some(text),
                        _ => pages.once = texts(),
                    }
                }
            }
        }
        Some(operation)
    }

    /// The structure of this name. One that is not there is empty.
    pub(crate) fn structure(&self, name: &'static str) -> Rc<Structure> {
        if let Some(structure) = self.structures.borrow().get(name) {
            return Rc::clone(structure);
        }
        let text = self.texts.get(name).copied().unwrap_or_default();
        let structure = Rc::new(Structure {
            members: text.split_ascii_whitespace().filter_map(member).collect(),
        });
        self.structures
            .borrow_mut()
            .insert(name, Rc::clone(&structure));
        structure
    }
}

fn acceptor(text: &'static str) -> Option<Acceptor> {
    let mut words = text.splitn(4, ' ');
    let (state, matcher) = (words.next()?, words.next()?);
    // A JSON text: those of the table have no blanks.
    let expected = words.next()?;
    Some(Acceptor {
        state,
        matcher,
        expected,
        expression: words.next().unwrap_or_default(),
    })
}

impl Operation {
    /// The member of the result that is the body, as bytes: the command writes it to a file.
    pub(crate) fn output_file(&self) -> Option<&Member> {
        let payload = self.output.payload()?;
        matches!(payload.shape.kind, Kind::Bytes | Kind::File).then_some(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_sorted_and_every_line_of_their_texts_is_understood() {
        assert!(SERVICES.is_sorted());
        for name in Service::commands() {
            let service = Service::find(name).unwrap_or_else(|| panic!("{name} is not there"));
            assert_eq!(service.command, name);
            for command in service.operation_commands() {
                let operation = service.operation(&command);
                assert!(operation.is_some(), "{name} {command}");
            }
            for waiter in service.waiter_names() {
                let waiter = service
                    .waiter(waiter)
                    .unwrap_or_else(|| panic!("{name} {waiter}"));
                assert!(
                    service.operation(waiter.command).is_some(),
                    "{name} {}",
                    waiter.name
                );
                for acceptor in &waiter.acceptors {
                    assert!(
                        serde_json::from_str::<serde_json::Value>(acceptor.expected).is_ok(),
                        "{acceptor:?}"
                    );
                }
            }
            for (structure, text) in &service.texts {
                let members = service.structure(structure).members.len();
                assert_eq!(
                    members,
                    text.split_ascii_whitespace().count(),
                    "{name} {structure}"
                );
            }
        }
    }
}
