//! The form of a reply to [the shell itself](super::shell_slot): a command of bash, with blanks behind it up to a fixed length:
//!
//! ```text
//! NAME='VALUE'...                             short texts, behind a check of the variables for all but numbers
//! NAME='VALUE'... &&ASSIGN l|n|m NAME 'TEXT'...   with lists and maps, whose compound assignment is TEXT
//! READ_LONGER LENGTH                          the same, longer: it follows in the pipe, and is of this length
//! builtin printf %s 'OUTPUT'                  a short output
//! NAME='VALUE'... ;TAKE_LISTS COUNT NAME...   lists of the driver's own are in the file, all of this length, a line for each value
//! TAKE_SHELL_REPLY l|n                        the reply is fields in a file, which end in LF, or in NUL if one has an LF:
//!                                             STATUS | what a long reply has, e MESSAGE or w ERRORS | their count |
//!                                             the mark of the call, which the file of TAKE_LISTS ends with, too
//! CALLER=$SELF; CALL_BY_TICKET "$@"           the shell has to make this call as any process does
//! CALLER=$SELF; COMMAND_BY_TICKET "$@"        the same for a call of the second program
//! RUN_COMMAND "$@"                            the value is not known, so that the call has to be made
//! SET_STATUS STATUS                           the second program has written everything
//! ```

use std::fmt::Write;

use super::reply_text::{is_plain, list_kind, long_text, short_message};
use super::values::{Assignment, Lifetime};
use coshell_calls::{CallError, Reply, Variable};
use coshell_driver::{REPLY_COMMAND_CHARS, names};

/// Up to this length a longer command follows in the pipe, where it leaves nothing. A pipe takes it in one piece.
const MAX_PIPED_CHARS: usize = 3000;

/// A reply to the shell itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ShellReply {
    /// A command, of [`REPLY_COMMAND_CHARS`] ASCII characters, and what it reads from the same pipe.
    pub command: String,
    /// What the command reads from the file.
    pub file: Vec<u8>,
}

/// What is left to do when the second program has answered. Nothing here holds a NUL.
pub(crate) struct CommandEnd {
    pub status: i32,
    pub output: Vec<u8>,
    pub errors: Vec<u8>,
    /// The variable that takes the output; empty if there is none.
    pub variable: String,
    /// How long a value may be known; `None` if the output is no value.
    pub lifetime: Option<Lifetime>,
}

impl ShellReply {
    pub(crate) fn take_ticket() -> Self {
        Self::by_ticket(names::CALL_BY_TICKET)
    }

    pub(crate) fn take_ticket_for_command() -> Self {
        Self::by_ticket(names::COMMAND_BY_TICKET)
    }

    /// The shell has read the whole reply, and goes on using its descriptors.
    fn by_ticket(function: &str) -> Self {
        let (caller, own) = (names::CALLER, names::SELF);
        Self::new(&format!("{caller}=${own};{function} \"$@\""), Vec::new())
    }

    pub(crate) fn run_command() -> Self {
        Self::new(&format!("{} \"$@\"", names::RUN_COMMAND), Vec::new())
    }

    pub(crate) fn of_value(known: Assignment) -> Self {
        Self::of(&Ok(Reply {
            assignments: vec![(known.variable, Variable::Text(known.value))],
            ..Reply::default()
        }))
    }

    /// What a call of the second program comes to: its status, and what it has not written itself.
    pub(crate) fn of_command(end: CommandEnd) -> Self {
        let mut reply = Reply {
            status: end.status,
            ..Reply::default()
        };
        if end.variable.is_empty() {
            reply.output = end.output;
        } else {
            let value = Variable::Text(end.output);
            reply.assignments.push((end.variable, value));
        }
        if !end.errors.is_empty() {
            let mut fields = long_text(&reply);
            fields.extend_from_slice(b"w\0");
            fields.extend_from_slice(&end.errors);
            fields.push(b'\0');
            return Self::with_fields(end.status, fields);
        }
        if reply.output.is_empty() && reply.assignments.is_empty() {
            let command = format!("{} {}", names::SET_STATUS, end.status);
            return Self::new(&command, Vec::new());
        }
        Self::of(&Ok(reply))
    }

    pub(crate) fn of(found: &Result<Reply, CallError>) -> Self {
        let (status, fields) = match found {
            // bash could not keep it in a variable.
            Ok(reply) if reply.output.contains(&0) => return Self::take_ticket(),
            Ok(reply) => {
                if let Some(reply) = Self::of_own_lists(reply) {
                    return reply;
                }
                let command = assigning_command(reply).or_else(|| printing_command(reply));
                if let Some(command) = command {
                    return Self::of_any_length(&command);
                }
                (reply.status, long_text(reply))
            }
            Err(error) => return Self::of_error(error.status, &error.message),
        };
        Self::with_fields(status, fields)
    }

    /// A call that has failed for a reason of ours.
    pub(crate) fn of_error(status: i32, cause: &str) -> Self {
        let fields = format!("e\0{}\0", short_message(cause));
        Self::with_fields(status, fields.into_bytes())
    }

    /// A reply that only assigns values which are not long, as a command.
    pub(crate) fn as_assignments(reply: &Reply) -> Option<String> {
        assigning_command(reply)
    }

    fn with_fields(status: i32, mut fields: Vec<u8>) -> Self {
        let count = memchr::memchr_iter(0, &fields).count();
        fields.splice(..0, format!("{status}\0").into_bytes());
        fields.extend_from_slice(format!("{count}\0").as_bytes());
        let has_line_feed = fields.contains(&b'\n');
        if !has_line_feed {
            // Every bash reads lines in blocks.
            for byte in fields.iter_mut().filter(|byte| **byte == 0) {
                *byte = b'\n';
            }
        }
        let ends = if has_line_feed { 'n' } else { 'l' };
        Self::new(&format!("{} {ends}", names::TAKE_SHELL_REPLY), fields)
    }

    fn of_any_length(command: &str) -> Self {
        let length = command.len();
        if length <= REPLY_COMMAND_CHARS {
            return Self::new(command, Vec::new());
        }
        let read = format!("{} {length}", names::READ_LONGER);
        let mut reply = Self::new(&read, Vec::new());
        reply.command.push_str(command);
        reply
    }

    /// Lists of one length for variables of the driver, with short texts for others of its own: the records of an event.
    fn of_own_lists(reply: &Reply) -> Option<Self> {
        if !reply.output.is_empty() || reply.status != 0 {
            return None;
        }
        let (mut texts, mut lists, mut file) = (String::new(), String::new(), Vec::new());
        let mut length = None;
        for (name, variable) in &reply.assignments {
            if !name.starts_with(names::PREFIX) {
                return None;
            }
            match variable {
                Variable::Text(value) => push_assignment(&mut texts, name, value),
                Variable::List(values) => {
                    if values.is_empty() || *length.get_or_insert(values.len()) != values.len() {
                        return None;
                    }
                    let _ = write!(lists, " {name}");
                    for value in values {
                        file.extend_from_slice(value);
                        file.push(b'\n');
                    }
                }
                _ => return None,
            }
        }
        let length = length?;
        let lines = memchr::memchr_iter(b'\n', &file).count();
        let is_line_each = lines == length * lists.split_ascii_whitespace().count();
        let command = format!("{texts};{} {length}{lists}", names::TAKE_LISTS);
        (is_line_each && command.len() <= REPLY_COMMAND_CHARS).then(|| Self::new(&command, file))
    }

    fn new(command: &str, file: Vec<u8>) -> Self {
        let command = format!("{command:REPLY_COMMAND_CHARS$}");
        Self { command, file }
    }
}

/// The command for a reply that only assigns values which are not long.
fn assigning_command(reply: &Reply) -> Option<String> {
    if !reply.output.is_empty() || reply.status != 0 || reply.assignments.is_empty() {
        return None;
    }
    let (mut commands, mut texts) = (Vec::new(), Vec::new());
    let mut length = 0;
    for (name, variable) in &reply.assignments {
        let (kind, value) = match variable {
            Variable::Text(value) | Variable::File(value) => {
                length += name.len() + value.len();
                if length > MAX_PIPED_CHARS {
                    return None;
                }
                texts.push((name.as_str(), value.as_slice()));
                continue;
            }
            Variable::List(values) => (list_kind(name, values), compound_list(values)?),
            Variable::Map(members) => ("m", compound_map(members)?),
        };
        length += value.len();
        let mut command = format!("{} {kind} {name} ", names::ASSIGN);
        push_quoted(&mut command, value.as_bytes());
        commands.push(command);
    }
    // Once one cannot be assigned, nothing more is, and the texts get back what they had.
    let texts = (!texts.is_empty()).then(|| texts_command(&texts));
    let all: Vec<_> = texts.into_iter().chain(commands).collect();
    let command = all.join("&&");
    (command.len() <= MAX_PIPED_CHARS).then_some(command)
}

/// The command that assigns texts. Before a text that is no number it finds out whether the variable takes that as it is: an
/// integer variable would run commands in it. If the command fails, the first of the shell's arguments is `PUT_BACK`, which with
/// the others gives the variables what they had.
fn texts_command(texts: &[(&str, &[u8])]) -> String {
    let is_checked = |(name, value): &&(&str, &[u8])| !is_plain(name, value);
    let checked: Vec<_> = texts.iter().filter(is_checked).collect();
    let others = texts.iter().filter(|text| !is_checked(text));
    let mut assignments = String::new();
    for (name, value) in texts {
        push_assignment(&mut assignments, name, value);
    }
    let is_own = |(name, _): &(&str, &[u8])| name.starts_with(names::PREFIX);
    if checked.is_empty() && texts.len() == 1 || texts.iter().all(is_own) {
        return assignments;
    }
    let (mut arguments, mut before) = (String::new(), String::new());
    for (name, _) in checked.iter().copied().chain(others) {
        let _ = write!(arguments, " {name}");
        let _ = write!(before, " \"${{{name}-}}\"");
    }
    let count = checked.len();
    let mut command = format!(
        "builtin set -- {} {count}{arguments}{before};",
        names::PUT_BACK
    );
    if count > 0 {
        let (mut probes, mut values) = (String::new(), String::new());
        for (name, _) in &checked {
            let _ = write!(probes, "{name}=1+1 ");
            let _ = write!(values, "${name}");
        }
        let expected = "1+1".repeat(count);
        let _ = write!(command, "{probes};[[ {values} == {expected} ]]&&");
    }
    command + &assignments
}

/// A list as bash's compound assignment: `('a' 'b')`. `None` if it is long.
fn compound_list(values: &[Vec<u8>]) -> Option<String> {
    let mut text = "(".to_owned();
    for value in values {
        if text.len() + value.len() > MAX_PIPED_CHARS {
            return None;
        }
        push_quoted(&mut text, value);
        text.push(' ');
    }
    text.push(')');
    Some(text)
}

/// A map as bash's compound assignment: `(['a']='1' ['b']='2')`. `None` if it is long, or if bash might read a key in another way.
fn compound_map(members: &[(Vec<u8>, Vec<u8>)]) -> Option<String> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/%+".contains(byte);
    let mut text = "(".to_owned();
    for (key, value) in members {
        let is_long = text.len() + key.len() + value.len() > MAX_PIPED_CHARS;
        if is_long || key.is_empty() || !key.iter().all(is_plain) {
            return None;
        }
        text.push('[');
        push_quoted(&mut text, key);
        text.push_str("]=");
        push_quoted(&mut text, value);
        text.push(' ');
    }
    text.push(')');
    Some(text)
}

/// The command for a reply that only prints a text which is not long.
fn printing_command(reply: &Reply) -> Option<String> {
    if reply.output.len() > MAX_PIPED_CHARS || reply.status != 0 || !reply.assignments.is_empty() {
        return None;
    }
    if reply.output.is_empty() {
        return Some("builtin :".to_owned());
    }
    let mut command = "builtin printf %s ".to_owned();
    push_quoted(&mut command, &reply.output);
    (command.len() <= MAX_PIPED_CHARS).then_some(command)
}

fn push_assignment(command: &mut String, name: &str, value: &[u8]) {
    command.push_str(name);
    command.push('=');
    push_quoted(command, value);
    command.push(' ');
}

/// Quotes a value for bash, with ASCII characters alone.
fn push_quoted(text: &mut String, value: &[u8]) {
    if value
        .iter()
        .all(|byte| matches!(byte, b' '..=b'~') && *byte != b'\'')
    {
        text.push('\'');
        text.extend(value.iter().map(|byte| char::from(*byte)));
        text.push('\'');
        return;
    }
    text.push_str("$'");
    for byte in value {
        // Writing to a string does not fail.
        let _ = match byte {
            b'\'' | b'\\' => write!(text, "\\{}", char::from(*byte)),
            b' '..=b'~' => write!(text, "{}", char::from(*byte)),
            _ => write!(text, "\\{byte:03o}"),
        };
    }
    text.push('\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(assignments: Vec<(&str, Variable)>) -> ShellReply {
        let assignments = assignments.into_iter();
        ShellReply::of(&Ok(Reply {
            assignments: assignments
                .map(|(name, variable)| (name.to_owned(), variable))
                .collect(),
            ..Reply::default()
        }))
    }

    #[test]
    fn short_texts_for_the_shell_are_assigned_by_a_command() {
        let text = |text: &str| Variable::Text(text.into());
        let texts = reply(vec![
            ("a", text("x $y")),
            ("b", text("-120")),
            ("c", text("'\\\nä")),
        ]);
        assert_eq!(texts.command.len(), REPLY_COMMAND_CHARS);
        let put_back = names::PUT_BACK;
        let expected = format!(
            "builtin set -- {put_back} 2 a c b \"${{a-}}\" \"${{c-}}\" \"${{b-}}\";a=1+1 c=1+1 ;[[ $a$c == 1+11+1 ]]&&\
             a='x $y' b='-120' c=$'\\'\\\\\\012\\303\\244'"
        );
        assert_eq!(texts.command.trim_end(), expected);
        assert!(texts.file.is_empty());
        let number = reply(vec![("a", text("0"))]);
        assert_eq!(number.command.trim_end(), "a='0'");
    }

    #[test]
    fn short_lists_and_maps_for_the_shell_are_in_the_command() {
        let bytes = |text: &str| text.as_bytes().to_vec();
        let mixed = reply(vec![
            ("a", Variable::Text(bytes("1"))),
            ("b", Variable::List(vec![bytes("1;;2"), bytes("it's")])),
            ("c", Variable::Map(vec![(bytes("k-1"), bytes("]='"))])),
            ("d", Variable::List(vec![bytes("1"), bytes("2")])),
        ]);
        let assign = names::ASSIGN;
        let expected = format!(
            "a='1' &&{assign} l b $'(\\'1;;2\\' $\\'it\\\\\\'s\\' )'\
             &&{assign} m c $'([\\'k-1\\']=$\\']=\\\\\\'\\' )'\
             &&{assign} n d $'(\\'1\\' \\'2\\' )'"
        );
        assert_eq!(mixed.command.trim_end(), expected);
        assert!(mixed.file.is_empty());
    }

    #[test]
    fn other_replies_for_the_shell_are_in_the_file() {
        let bytes = |text: &str| text.as_bytes().to_vec();
        let command = |ends| format!("{} {ends}", names::TAKE_SHELL_REPLY);
        let map = |key: &str| Variable::Map(vec![(bytes(key), bytes("v"))]);
        let lines = reply(vec![("a", map("x y"))]);
        assert_eq!(lines.command.trim_end(), command('l'));
        assert_eq!(lines.file, b"0\nm\na\n1\nx y\nv\n5\n");
        let fields = reply(vec![("a", map("x\n"))]);
        assert_eq!(fields.command.trim_end(), command('n'));
        assert_eq!(fields.file, b"0\0m\0a\x001\0x\n\0v\0\x35\0");
        let list = Variable::List(vec![vec![b'x'; 1000]; 3]);
        assert_eq!(reply(vec![("a", list)]).command.trim_end(), command('l'));
        let long = reply(vec![("a", Variable::Text(vec![b'\''; 1500]))]);
        assert_eq!(long.command.trim_end(), command('l'));
        let error = ShellReply::of(&Err(CallError {
            status: 2,
            message: "no\nway".to_owned(),
        }));
        assert_eq!(error.file, b"2\ne\nno\\nway\n2\n");
    }

    #[test]
    fn short_outputs_are_printed_by_a_command() {
        let printed = |output: &[u8]| {
            let reply = Reply {
                output: output.to_vec(),
                ..Reply::default()
            };
            ShellReply::of(&Ok(reply))
        };
        let short = printed(b"{\"a\":\"it's\"}\n");
        let expected = "builtin printf %s $'{\"a\":\"it\\'s\"}\\012'";
        assert_eq!(short.command.trim_end(), expected);
        assert_eq!(printed(b"").command.trim_end(), "builtin :");
        let long = printed(&[b'x'; MAX_PIPED_CHARS]);
        let command = format!("{} l", names::TAKE_SHELL_REPLY);
        assert_eq!(long.command.trim_end(), command);
    }

    #[test]
    fn lists_of_the_driver_are_taken_without_checks() {
        let list = |count: usize, value: &str| Variable::List(vec![value.into(); count]);
        let own = |values: Variable| {
            reply(vec![
                (names::RECORDS, values),
                (names::FAULTS, list(2, "")),
                (names::FLAGS, Variable::Text(b"partial".into())),
            ])
        };
        let taken = own(list(2, "{}"));
        let (records, faults, flags) = (names::RECORDS, names::FAULTS, names::FLAGS);
        let command = format!(
            "{flags}='partial' ;{} 2 {records} {faults}",
            names::TAKE_LISTS
        );
        assert_eq!(taken.command.trim_end(), command);
        assert_eq!(taken.file, b"{}\n{}\n\n\n");
        for other in [list(3, "{}"), list(2, "a\nb"), list(0, "")] {
            let command = own(other).command;
            assert!(!command.contains(names::TAKE_LISTS), "{command}");
        }
    }

    #[test]
    fn longer_texts_follow_their_command() {
        let text = "x".repeat(REPLY_COMMAND_CHARS);
        let longer = reply(vec![("a", Variable::Text(text.clone().into_bytes()))]);
        let (command, rest) = longer.command.split_at(REPLY_COMMAND_CHARS);
        let put_back = names::PUT_BACK;
        let expected = format!(
            "builtin set -- {put_back} 1 a \"${{a-}}\";a=1+1 ;[[ $a == 1+1 ]]&&a='{text}' "
        );
        assert_eq!(rest, expected);
        let read = format!("{} {}", names::READ_LONGER, expected.len());
        assert_eq!(command.trim_end(), read);
        assert!(longer.file.is_empty());
    }

    #[test]
    fn commands_for_the_shell_have_one_length() {
        let number = "1".repeat(18).into_bytes();
        let value = Variable::Text(number);
        let commands = [
            ShellReply::take_ticket(),
            reply(vec![("a", value)]),
            reply(Vec::new()),
        ];
        for reply in commands {
            assert_eq!(reply.command.len(), REPLY_COMMAND_CHARS, "{reply:?}");
        }
    }
}
