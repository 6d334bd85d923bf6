//! `protocol.toml`, as the build reads it.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Table {
    pub(crate) descriptor: Vec<Descriptor>,
    pub(crate) wire_name: Vec<WireName>,
    pub(crate) call: Vec<Call>,
    pub(crate) kind: Vec<Word>,
    pub(crate) record: Vec<Word>,
    pub(crate) state_field: Vec<StateField>,
    pub(crate) context: Context,
    pub(crate) shell_reply: ShellReply,
}

/// The parts of a reply to a call of the shell itself, by their lengths in characters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShellReply {
    pub(crate) caller: usize,
    pub(crate) command: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Descriptor {
    pub(crate) name: String,
    /// In a running shell; `None` if it is closed by then.
    pub(crate) number: Option<u32>,
    /// What bash starts with; 10 above `number` if there is no other.
    pub(crate) inherited: Option<u32>,
    /// Where bash opens it later, if it does not start with it.
    pub(crate) opened: Option<u32>,
    pub(crate) what: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireName {
    /// What the function is called in the files of `runtime-scripts`, without the prefix.
    pub(crate) function: String,
    pub(crate) name: String,
    pub(crate) what: String,
}

/// A function that calls the handler.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// What comes before the event.
    pub(crate) fields: Vec<Field>,
    pub(crate) what: String,
    /// Its fields end in newlines, and not in NULs.
    #[serde(default)]
    pub(crate) lines: bool,
    /// Few shells need it.
    #[serde(default)]
    pub(crate) rare: bool,
}

#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Field {
    RequestId,
    PreparedCall,
    PreparedReply,
    Deadline,
    Trace,
}

impl Field {
    /// The variables that get it.
    pub(crate) fn variables(self) -> &'static [&'static str] {
        match self {
            Self::RequestId => &["LAMBDA_RUNTIME_AWS_REQUEST_ID"],
            // calls.bash looks at them where they are.
            Self::PreparedCall | Self::PreparedReply => &[],
            Self::Deadline => &["LAMBDA_RUNTIME_DEADLINE_MS"],
            Self::Trace => &["LAMBDA_RUNTIME_TRACE_ID", "_X_AMZN_TRACE_ID"],
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Word {
    pub(crate) name: String,
    pub(crate) what: String,
}

impl Word {
    /// The name of its constant.
    pub(crate) fn constant(&self) -> String {
        self.name.trim_start_matches('=').to_uppercase()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    pub(crate) values: Vec<String>,
    others: Vec<String>,
    pub(crate) present: Vec<String>,
}

impl Context {
    /// All of them, in the order in which bootstrap sends them.
    pub(crate) fn variables(&self) -> Vec<&str> {
        let all = self.values.iter().chain(&self.others);
        all.map(String::as_str).collect()
    }

    /// What bash expands for the field of the state.
    fn shown(&self) -> String {
        let present = self.present.iter().map(|name| format!("${{{name}+set}}"));
        let values = self.values.iter().map(|name| format!("${{{name}-}}"));
        present.chain(values).collect::<Vec<_>>().join("|")
    }
}

/// A field at the beginning of a state.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StateField {
    pub(crate) name: String,
    shown: String,
    /// Only a shell that restores everything shows it.
    #[serde(default)]
    restore: bool,
    pub(crate) what: String,
}

impl Descriptor {
    /// The number with which bash starts.
    pub(crate) fn inherited(&self) -> Option<u32> {
        if self.opened.is_some() {
            return None;
        }
        self.inherited
            .or_else(|| self.number.map(|number| number + 10))
    }
}

impl Table {
    /// The commands that move the descriptors with which bash starts. While the inherited ones are closed for the group, bash
    /// has set them aside, close-on-exec, at the lowest numbers that are free from 10 on; a duplicate is close-on-exec, too.
    pub(crate) fn move_inherited(&self) -> String {
        let numbers = |one: &Descriptor| Some((one.number?, one.inherited()?));
        let numbers: Vec<_> = self.descriptor.iter().filter_map(numbers).collect();
        // bash has read the driver whole, and has its script under another number.
        let is_read = |one: &&Descriptor| ["driver", "script"].contains(&one.name.as_str());
        let read = self.descriptor.iter().filter(is_read);
        let (mut duplicated, mut closed, mut read_closed) =
            (String::new(), String::new(), String::new());
        for (aside, (number, inherited)) in (10..).zip(numbers) {
            let _ = write!(duplicated, " {number}>&{aside}");
            let _ = write!(closed, " {inherited}>&-");
        }
        for inherited in read.filter_map(Descriptor::inherited) {
            let _ = write!(read_closed, " {inherited}>&-");
        }
        format!("{{ exec{duplicated}; }}{closed}\nexec{closed}{read_closed}")
    }

    /// A number under which bash opens one file must not be that of another in a running shell: bash closes it afterwards.
    fn check_descriptors(&self) -> Result<(), String> {
        // A bash that runs a whole script has none of the others.
        let of_shell = |one: &&Descriptor| !one.name.starts_with("script_");
        let of_shell: Vec<_> = self.descriptor.iter().filter(of_shell).collect();
        for one in &of_shell {
            let opened = one.opened.or_else(|| one.inherited());
            let is_other = |other: &&&Descriptor| other.number == opened && opened.is_some();
            if let Some(other) = of_shell.iter().find(is_other) {
                return Err(format!(
                    "{} is opened with the number of {}",
                    one.name, other.name
                ));
            }
        }
        Ok(())
    }

    /// The place of a field, which is the same in all calls.
    fn place_in_calls(&self, field: Field) -> Result<usize, String> {
        let place = |call: &Call| call.fields.iter().position(|other| *other == field);
        let mut places = self.call.iter().map(place);
        let first = places.next().flatten();
        let first = first.filter(|first| places.all(|place| place == Some(*first)));
        first.ok_or_else(|| format!("{field:?} has not the same place in all calls"))
    }

    /// The words that bash prints as the fields of a state.
    fn state_fields(&self, restores: bool) -> String {
        let context = self.context.shown();
        let word = |field: &StateField| match field.shown.as_str() {
            _ if field.restore && !restores => "''".to_owned(),
            "CONTEXT" => format!("\"{context}\""),
            shown => format!("\"{shown}\""),
        };
        let words: Vec<_> = self.state_field.iter().map(word).collect();
        words.join(" ")
    }

    /// What stands for each name of the table in the files of `runtime-scripts`.
    pub(crate) fn values(&self) -> Result<BTreeMap<String, String>, String> {
        let mut values = BTreeMap::new();
        let mut add = |name: String, value: String| match values.insert(name.clone(), value) {
            Some(_) => Err(format!("protocol.toml names {name} twice")),
            None => Ok(()),
        };
        self.check_descriptors()?;
        for descriptor in &self.descriptor {
            let name = descriptor.name.to_uppercase();
            if let Some(number) = descriptor.number {
                add(format!("{name}_FD"), number.to_string())?;
            }
            if let Some(number) = descriptor.inherited() {
                add(format!("INHERITED_{name}_FD"), number.to_string())?;
            }
            if let Some(number) = descriptor.opened {
                add(format!("OPENED_{name}_FD"), number.to_string())?;
            }
        }
        for wire in &self.wire_name {
            add(format!("__driver_{}", wire.function), wire.name.clone())?;
        }
        for kind in &self.kind {
            add(
                format!("KIND_{}", kind.name.to_uppercase()),
                kind.name.clone(),
            )?;
        }
        for record in &self.record {
            add(format!("RECORD_{}", record.constant()), record.name.clone())?;
        }
        add("MOVE_INHERITED_FDS".to_owned(), self.move_inherited())?;
        let fields = 2 * self.context.variables().len();
        add("CONTEXT_FIELDS".to_owned(), fields.to_string())?;
        for (name, field) in [
            ("PREPARED_CALL", Field::PreparedCall),
            ("PREPARED_REPLY", Field::PreparedReply),
        ] {
            add(name.to_owned(), self.place_in_calls(field)?.to_string())?;
        }
        let reply = self.shell_reply.caller + self.shell_reply.command;
        add("SHELL_REPLY_CHARS".to_owned(), reply.to_string())?;
        add("STATE_FIELDS".to_owned(), self.state_fields(true))?;
        add("KEPT_STATE_FIELDS".to_owned(), self.state_fields(false))?;
        Ok(values)
    }
}
