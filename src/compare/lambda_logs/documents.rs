//! Logs that are JSON documents with events in them. The events are read one after the other: even of a document of gigabytes,
//! only one event is in memory.

use std::fmt;
use std::io::{BufReader, Read};

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::{Deserializer, Map, Value};

use super::message::{Message, Place, function_in_stream, function_of_group, log_result};
use super::stream::{Elements, NextElement};

/// The names of arrays of events.
const ARRAYS: [&str; 3] = ["events", "logEvents", "results"];

/// Gives each message in the documents to `each`.
///
/// # Errors
/// If they are no such documents: why.
pub(super) fn read_documents(input: impl Read, each: impl FnMut(Message)) -> Result<(), String> {
    // serde_json reads a byte at a time.
    let (input, next) = Elements::new(BufReader::new(input));
    let mut documents = Deserializer::from_reader(input);
    let mut events = Events {
        each,
        count: 0,
        next,
    };
    loop {
        events.next.begin();
        Document(&mut events)
            .deserialize(&mut documents)
            .map_err(|error| error.to_string())?;
        match documents.end() {
            Ok(()) => return Ok(()),
            // Another document follows.
            Err(error) if error.is_syntax() => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Whether a document holds messages, in place of being one.
pub(super) fn is_export(document: &Value) -> bool {
    match document {
        Value::Array(all) => all.iter().all(|one| is_event(one) || is_platform(one)),
        Value::String(text) => log_result(text).is_ok(),
        _ => {
            ARRAYS.iter().any(|name| document[name].is_array())
                || document["LogResult"].is_string()
                || is_event(document)
        }
    }
}

/// Whether it is an event of CloudWatch or of Docker. The documents of Lambda's JSON format have a `message`, too, and none of
/// the other keys.
fn is_event(document: &Value) -> bool {
    let has = |name| document.get(name).is_some();
    has("@message")
        || has("message") && (has("logStreamName") || has("ingestionTime") || has("eventId"))
        || has("log") && has("stream") && has("time")
}

/// Whether it is an event of the platform.
pub(super) fn is_platform(document: &Value) -> bool {
    document["type"].is_string() && document.get("record").is_some()
}

/// Whether the document that begins with `head` is an export: a long one is an array of events, or has one.
pub(super) fn is_cut_export(head: &str) -> bool {
    let head = head.trim_start();
    if let Some(elements) = head.strip_prefix('[') {
        let first = Deserializer::from_str(elements).into_iter::<Value>().next();
        return matches!(first, Some(Ok(first)) if is_event(&first) || is_platform(&first));
    }
    let mut has_array = false;
    // It fails at the end of `head`.
    let _ = Deserializer::from_str(head).deserialize_map(Keys(&mut has_array));
    has_array
}

/// Looks for an array of events.
struct Keys<'a>(&'a mut bool);

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if ARRAYS.contains(&key.as_str()) {
                map.next_value_seed(IsArray(self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Sets its flag if a value is an array, without reading it.
struct IsArray<'a>(&'a mut bool);

impl<'de> DeserializeSeed<'de> for IsArray<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for IsArray<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        *self.0 = true;
        Err(A::Error::custom("an array is there"))
    }
}

/// Turns events into messages.
struct Events<F> {
    each: F,
    count: usize,
    next: NextElement,
}

impl<F: FnMut(Message)> Events<F> {
    fn add(&mut self, body: Value, function: Option<String>, stream: Option<&str>) {
        self.count += 1;
        (self.each)(Message {
            body,
            function: function.or_else(|| function_in_stream(stream?)),
            stream: stream.map(str::to_owned),
            place: Place::Event(self.count),
        });
    }

    fn add_event(&mut self, event: &Value, group: Option<&str>, stream: Option<&str>) {
        let of = |names: &[&str]| names.iter().find_map(|name| event[name].as_str());
        let function = of(&["@log", "logGroupName", "logGroup"])
            .or(group)
            .map(function_of_group);
        let stream = of(&["@logStream", "logStreamName", "logStream"]).or(stream);
        let body = ["@message", "message", "log"]
            .iter()
            .find_map(|name| event.get(name));
        self.add(body.unwrap_or(event).clone(), function, stream);
    }

    /// A row of Insights' results: fields with a name and a value.
    fn add_row(&mut self, row: &Value) {
        let fields = row.as_array().into_iter().flatten();
        let fields = fields.filter_map(|field| {
            Some((field["field"].as_str()?.to_owned(), field["value"].clone()))
        });
        self.add_event(&Value::Object(fields.collect()), None, None);
    }

    fn add_log_result(&mut self, text: &str) -> Result<(), String> {
        for line in log_result(text)?.lines() {
            self.add(line.into(), None, None);
        }
        Ok(())
    }
}

/// Reads a document: an array of events, a `LogResult`, or a map with either of them, or that is an event itself.
struct Document<'a, F>(&'a mut Events<F>);

impl<'de, F: FnMut(Message)> DeserializeSeed<'de> for Document<'_, F> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnMut(Message)> Visitor<'de> for Document<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document with events")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.0.add_log_result(text).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while let Some(event) = sequence.next_element::<Value>()? {
            self.0.next.begin();
            self.0.add_event(&event, None, None);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let events = self.0;
        let mut others = Map::new();
        let mut is_read = false;
        while let Some(key) = map.next_key::<String>()? {
            let has_group = others.contains_key("logGroup");
            let array = Array {
                events: &mut *events,
                is_results: key == "results",
                // A document whose group follows its events is short: the events wait for the group.
                others: (key != "logEvents" || has_group).then_some(&others),
            };
            if !ARRAYS.contains(&key.as_str()) {
                others.insert(key, map.next_value()?);
            } else if let Some(value) = map.next_value_seed(array)? {
                others.insert(key, value);
            } else {
                is_read = true;
            }
        }
        let text = |name: &str| others.get(name).and_then(Value::as_str);
        if let Some(text) = text("LogResult") {
            return events.add_log_result(text).map_err(A::Error::custom);
        }
        if let Some(Value::Array(waiting)) = others.get("logEvents") {
            for event in waiting {
                events.add_event(event, text("logGroup"), text("logStream"));
            }
            return Ok(());
        }
        if !is_read {
            events.add_event(&Value::Object(others), None, None);
        } else if let Some(status) = text("status").filter(|status| *status != "Complete") {
            let cause = format!("it has a part of its results, its status is {status}");
            return Err(A::Error::custom(cause));
        }
        Ok(())
    }
}

/// Reads an array of events, one after the other. Returns the value if it is no array, or has to wait.
struct Array<'a, F> {
    events: &'a mut Events<F>,
    is_results: bool,
    /// The other keys of the document so far; `None` if the events have to wait.
    others: Option<&'a Map<String, Value>>,
}

impl<'de, F: FnMut(Message)> DeserializeSeed<'de> for Array<'_, F> {
    type Value = Option<Value>;

    fn deserialize<D: serde::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        if self.others.is_none() {
            return Value::deserialize(deserializer).map(Some);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnMut(Message)> Visitor<'de> for Array<'_, F> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let text = |name: &str| self.others?.get(name)?.as_str();
        while let Some(event) = sequence.next_element::<Value>()? {
            self.events.next.begin();
            if self.is_results {
                self.events.add_row(&event);
            } else {
                self.events
                    .add_event(&event, text("logGroup"), text("logStream"));
            }
        }
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Value::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.into()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Some(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Some(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Some(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Some(Value::Null))
    }
}
