//! Arguments that the AWS CLI has beside those of the API: simple ones for what is nested.

use super::failure::Failure;
use super::files::Files;
use super::table::{Operation, Service};
use super::unique;
use super::value::Value;
use super::words::{OptionWord, Takes, Words};

/// How an argument changes the parameters.
type Apply = fn(&mut Value, &Given) -> Result<(), Failure>;

/// What is given for an argument. A file is read already.
struct Given<'a> {
    values: &'a [String],
    content: Option<Value>,
}

impl Given<'_> {
    fn text(&self) -> String {
        match &self.content {
            Some(Value::Text(text)) => text.clone(),
            _ => self.values.first().cloned().unwrap_or_default(),
        }
    }

    fn value(&self) -> Value {
        self.content
            .clone()
            .unwrap_or_else(|| Value::Text(self.text()))
    }
}

struct Argument {
    name: &'static str,
    takes: Takes,
    apply: Apply,
}

/// The additional arguments of one operation.
#[derive(Default)]
pub(crate) struct Arguments {
    arguments: &'static [Argument],
    /// The parameters that these arguments make: none of them is required then.
    parameters: &'static [&'static str],
    /// Groups of which one alone may be given: the first name, or any of the others.
    exclusive: &'static [(&'static str, &'static [&'static str])],
    /// The arguments set members of the first structure of this list.
    nested: Option<&'static str>,
}

impl Arguments {
    pub(crate) fn options(&self) -> impl Iterator<Item = OptionWord> {
        let arguments = self.arguments.iter();
        arguments.map(|argument| OptionWord::new(argument.name, argument.takes))
    }

    pub(crate) fn replaces(&self, parameter: &str) -> bool {
        self.parameters.contains(&parameter)
    }

    /// Adds what the arguments mean to the parameters.
    pub(crate) fn apply(
        &self,
        words: &Words,
        parameters: &mut Value,
        files: Files,
    ) -> Result<(), Failure> {
        for (one, others) in self.exclusive {
            if words.has(one)
                && let Some(other) = others.iter().find(|name| words.has(name))
            {
                return Err(Failure::usage(format!(
                    "The argument \"--{one}\" cannot be specified with the argument \"--{other}\""
                )));
            }
        }
        for argument in self.arguments {
            let Some(values) = words.values(argument.name) else {
                continue;
            };
            let content = match values {
                [value] => files.content(argument.name, value)?,
                _ => None,
            };
            let given = &Given { values, content };
            match self.nested {
                Some(list) => {
                    let one = Value::List(vec![Value::Map(Vec::new())]);
                    if let Some(Value::List(elements)) = parameters.entry(list, one)
                        && let Some(first) = elements.first_mut()
                    {
                        (argument.apply)(first, given)?;
                    }
                }
                None => (argument.apply)(parameters, given)?,
            }
        }
        Ok(())
    }
}

/// The additional arguments of this operation.
pub(crate) fn arguments(service: &Service, operation: &Operation) -> Arguments {
    match (service.command, operation.name) {
        ("ses", "SendEmail") => Arguments {
            arguments: &SEND_EMAIL,
            parameters: &["Destination", "Message"],
            nested: None,
            exclusive: &[
                ("destination", &["to", "cc", "bcc"]),
                ("message", &["text", "html"]),
            ],
        },
        ("cloudwatch", "PutMetricData") => Arguments {
            arguments: &PUT_METRIC_DATA,
            parameters: &["MetricData"],
            nested: Some("MetricData"),
            exclusive: &[(
                "metric-data",
                &[
                    "metric-name",
                    "timestamp",
                    "unit",
                    "value",
                    "dimensions",
                    "statistic-values",
                ],
            )],
        },
        ("cloudfront", "CreateInvalidation") => Arguments {
            arguments: &CREATE_INVALIDATION,
            parameters: &["InvalidationBatch"],
            nested: None,
            exclusive: &[("invalidation-batch", &["paths"])],
        },
        ("ec2", "AuthorizeSecurityGroupIngress" | "RevokeSecurityGroupIngress") => Arguments {
            arguments: &SECURITY_GROUP_RULE,
            parameters: &[],
            exclusive: &[(
                "ip-permissions",
                &["protocol", "port", "cidr", "source-group", "group-owner"],
            )],
            nested: Some("IpPermissions"),
        },
        ("rekognition", _) if operation.input.member("Image").is_some() => Arguments {
            arguments: &IMAGE_BYTES,
            parameters: &["Image"],
            exclusive: &[("image", &["image-bytes"])],
            nested: None,
        },
        ("lambda", "CreateFunction") => Arguments {
            arguments: &CREATE_FUNCTION,
            parameters: &["Code"],
            nested: None,
            exclusive: &[],
        },
        ("lambda", "UpdateFunctionCode") => Arguments {
            arguments: &UPDATE_FUNCTION_CODE,
            parameters: &["ZipFile"],
            nested: None,
            exclusive: &[],
        },
        _ => Arguments::default(),
    }
}

/// Sets a member of a nested structure, and makes the structures on the way there.
fn set(parameters: &mut Value, path: &[&str], value: Value) {
    let Some((last, path)) = path.split_last() else {
        return;
    };
    let mut at = parameters;
    for key in path {
        let Some(next) = at.entry(key, Value::Map(Vec::new())) else {
            return;
        };
        at = next;
    }
    at.set(last, value);
}

macro_rules! sets {
    ($name:literal, $takes:ident, $path:expr, $value:expr) => {
        Argument {
            name: $name,
            takes: Takes::$takes,
            apply: |parameters, given| {
                let value: fn(&Given) -> Value = $value;
                set(parameters, $path, value(given));
                Ok(())
            },
        }
    };
}

fn content(given: &Given) -> Value {
    given.value()
}

fn texts(given: &Given) -> Value {
    Value::List(given.values.iter().map(Value::text).collect())
}

static SEND_EMAIL: [Argument; 6] = [
    sets!("to", Many, &["Destination", "ToAddresses"], texts),
    sets!("cc", Many, &["Destination", "CcAddresses"], texts),
    sets!("bcc", Many, &["Destination", "BccAddresses"], texts),
    sets!("subject", One, &["Message", "Subject", "Data"], |given| {
        given.value()
    }),
    sets!("text", One, &["Message", "Body", "Text", "Data"], |given| {
        given.value()
    }),
    sets!("html", One, &["Message", "Body", "Html", "Data"], |given| {
        given.value()
    }),
];

static CREATE_INVALIDATION: [Argument; 1] = [Argument {
    name: "paths",
    takes: Takes::Many,
    apply: |parameters, given| {
        let reference = format!("cli-{}", unique::uuid());
        let count = i128::try_from(given.values.len()).unwrap_or_default();
        set(
            parameters,
            &["InvalidationBatch", "CallerReference"],
            Value::Text(reference),
        );
        set(
            parameters,
            &["InvalidationBatch", "Paths", "Quantity"],
            Value::Integer(count),
        );
        set(
            parameters,
            &["InvalidationBatch", "Paths", "Items"],
            texts(given),
        );
        Ok(())
    },
}];

static CREATE_FUNCTION: [Argument; 1] = [zip_file(|parameters, given| {
    set(parameters, &["Code", "ZipFile"], archive(given)?);
    Ok(())
})];

static UPDATE_FUNCTION_CODE: [Argument; 1] = [zip_file(|parameters, given| {
    set(parameters, &["ZipFile"], archive(given)?);
    Ok(())
})];

const fn zip_file(apply: Apply) -> Argument {
    Argument {
        name: "zip-file",
        takes: Takes::One,
        apply,
    }
}

/// The content of an archive. The name of one would be sent as code.
fn archive(given: &Given) -> Result<Value, Failure> {
    match &given.content {
        Some(Value::Bytes(bytes)) if bytes.starts_with(b"PK") => Ok(given.value()),
        _ => Err(Failure::usage(
            "--zip-file must be a zip file with the fileb:// prefix.\nExample usage:  --zip-file fileb://path/to/file.zip",
        )),
    }
}

static IMAGE_BYTES: [Argument; 1] = [sets!("image-bytes", One, &["Image", "Bytes"], content)];

static PUT_METRIC_DATA: [Argument; 7] = [
    nested("metric-name", |metric, given| {
        metric.set("MetricName", given.value());
        Ok(())
    }),
    nested("timestamp", |metric, given| {
        metric.set("Timestamp", given.value());
        Ok(())
    }),
    nested("unit", |metric, given| {
        metric.set("Unit", given.value());
        Ok(())
    }),
    nested("value", |metric, given| {
        metric.set("Value", number(&given.text())?);
        Ok(())
    }),
    nested("dimensions", |metric, given| {
        let dimensions = pairs(&given.text())?.into_iter().map(|(name, value)| {
            let entries = [("Name", name), ("Value", value)];
            Value::Map(
                entries
                    .map(|(key, text)| (key.to_owned(), Value::Text(text)))
                    .into(),
            )
        });
        metric.set("Dimensions", Value::List(dimensions.collect()));
        Ok(())
    }),
    nested("statistic-values", |metric, given| {
        let statistics = pairs(&given.text())?.into_iter();
        let statistics = statistics.map(|(name, value)| Ok((name, number(&value)?)));
        metric.set(
            "StatisticValues",
            Value::Map(statistics.collect::<Result<_, Failure>>()?),
        );
        Ok(())
    }),
    nested("storage-resolution", |metric, given| {
        metric.set("StorageResolution", number(&given.text())?);
        Ok(())
    }),
];

static SECURITY_GROUP_RULE: [Argument; 5] = [
    nested("protocol", |rule, given| {
        let protocol = given.text();
        let is_number =
            super::shorthand::integer(&protocol).is_ok_and(|number| (-1..=255).contains(&number));
        if !is_number && !["tcp", "udp", "icmp", "all"].contains(&protocol.as_str()) {
            return Err(Failure::usage(
                "protocol parameter should be one of: tcp|udp|icmp|all or any valid protocol number.",
            ));
        }
        let protocol = if protocol == "all" { "-1" } else { &protocol };
        rule.set("IpProtocol", Value::text(protocol));
        Ok(())
    }),
    nested("port", |rule, given| {
        let port = given.text();
        let (from, to) = match port.split_once('-') {
            _ if port == "-1" || port == "all" => ("-1", "-1"),
            Some(range) => range,
            None => (port.as_str(), port.as_str()),
        };
        let number = |text: &str| {
            super::shorthand::integer(text)
                .map(Value::Integer)
                .map_err(|_| {
                    Failure::usage(
                        "port parameter should be of the form <from[-to]> (e.g. 22 or 22-25)",
                    )
                })
        };
        rule.set("FromPort", number(from)?);
        rule.set("ToPort", number(to)?);
        Ok(())
    }),
    nested("cidr", |rule, given| {
        let range = Value::Map(vec![("CidrIp".to_owned(), given.value())]);
        rule.set("IpRanges", Value::List(vec![range]));
        Ok(())
    }),
    nested("source-group", |rule, given| {
        let group = given.text();
        let key = if group.starts_with("sg-") {
            "GroupId"
        } else {
            "GroupName"
        };
        set_in_pair(rule, key, Value::Text(group));
        Ok(())
    }),
    nested("group-owner", |rule, given| {
        set_in_pair(rule, "UserId", given.value());
        Ok(())
    }),
];

/// Sets a member of the one group that a rule lets in.
fn set_in_pair(rule: &mut Value, key: &str, value: Value) {
    let one = Value::List(vec![Value::Map(Vec::new())]);
    if let Some(Value::List(pairs)) = rule.entry("UserIdGroupPairs", one)
        && let Some(pair) = pairs.first_mut()
    {
        pair.set(key, value);
    }
}

/// An argument that sets something of the one structure that these arguments make.
const fn nested(name: &'static str, apply: Apply) -> Argument {
    Argument {
        name,
        takes: Takes::One,
        apply,
    }
}

fn number(text: &str) -> Result<Value, Failure> {
    if let Ok(integer) = super::shorthand::integer(text) {
        return Ok(Value::Integer(integer));
    }
    super::shorthand::float(text)
        .map(Value::Float)
        .map_err(Failure::other)
}

/// `a=b,c=d`.
fn pairs(text: &str) -> Result<Vec<(String, String)>, Failure> {
    let pairs = text.split(',').map(|pair| {
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            Failure::other(format!(
                "not enough values to unpack: '{pair}' has to be name=value"
            ))
        })?;
        Ok((name.to_owned(), value.to_owned()))
    });
    pairs.collect()
}
