//! Where an event comes from, and what that says of its records.

use crate::document::string::quote;
use crate::document::{Document, Kind, Span};

/// A service that hands records over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventSource {
    Sqs,
    /// A queue that keeps the order of its messages.
    SqsFifo,
    Sns,
    S3,
    Kinesis,
    DynamoDb,
    /// The event is its only record.
    EventBridge,
    /// MSK and Kafka elsewhere.
    Kafka,
    /// Amazon MQ with `ActiveMQ`.
    Mq,
    /// Amazon MQ with `RabbitMQ`.
    RabbitMq,
    /// Another one; what it has in `Records` are its records.
    Other,
}

impl EventSource {
    pub fn of(event: &Document<'_>) -> Self {
        let root = event.root();
        let first = event.find_elements(root, &["Records"]);
        if let Some(first) = first.and_then(|records| records.first().copied()) {
            let lower = event.find_string(first, &["eventSource"]);
            let name = lower.or_else(|| event.find_string(first, &["EventSource"]));
            return match name.as_deref() {
                Some("aws:sqs") if is_fifo(event, first) => Self::SqsFifo,
                Some("aws:sqs") => Self::Sqs,
                Some("aws:sns") => Self::Sns,
                Some("aws:s3") => Self::S3,
                Some("aws:kinesis") => Self::Kinesis,
                Some("aws:dynamodb") => Self::DynamoDb,
                _ => Self::Other,
            };
        }
        match event.find_string(root, &["eventSource"]).as_deref() {
            Some("aws:kafka" | "SelfManagedKafka") => Self::Kafka,
            Some("aws:mq") => Self::Mq,
            Some("aws:rmq") => Self::RabbitMq,
            _ if event.find(root, &["detail-type"]).is_some()
                && event.find(root, &["source"]).is_some() =>
            {
                Self::EventBridge
            }
            _ => Self::Other,
        }
    }

    /// As it stands in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqs => "sqs",
            Self::SqsFifo => "sqs-fifo",
            Self::Sns => "sns",
            Self::S3 => "s3",
            Self::Kinesis => "kinesis",
            Self::DynamoDb => "dynamodb",
            Self::EventBridge => "eventbridge",
            Self::Kafka => "kafka",
            Self::Mq => "mq",
            Self::RabbitMq => "rabbitmq",
            Self::Other => "none",
        }
    }

    /// Whether a record must not be handled after one before it failed: all from that on are failures.
    pub fn is_ordered(self) -> bool {
        matches!(
            self,
            Self::SqsFifo | Self::Kinesis | Self::DynamoDb | Self::Kafka
        )
    }

    /// Whether an answer can say which records failed, if the event source mapping has `ReportBatchItemFailures`.
    ///
    /// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>,
    /// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>
    pub fn takes_batch_failures(self) -> bool {
        self == Self::Sqs || self.is_ordered()
    }

    /// The records; `None` if the event has no place for them.
    pub(super) fn records(self, event: &Document<'_>) -> Option<Vec<Span>> {
        let root = event.root();
        match self {
            Self::EventBridge => Some(vec![root]),
            Self::Mq => event.find_elements(root, &["messages"]),
            Self::Kafka | Self::RabbitMq => {
                let name = if self == Self::Kafka {
                    "records"
                } else {
                    "rmqMessagesByQueue"
                };
                let lists = event.find_members(root, &[name])?.into_iter();
                let lists = lists.filter_map(|(_, list)| event.find_elements(list, &[]));
                Some(lists.flatten().collect())
            }
            _ => event.find_elements(root, &["Records"]),
        }
    }

    /// What `itemIdentifier` is, as JSON.
    pub(super) fn identifier(self, event: &Document<'_>, record: Span) -> Option<String> {
        let names: &[&str] = match self {
            Self::Sqs | Self::SqsFifo => &["messageId"],
            Self::Kinesis => &["kinesis", "sequenceNumber"],
            Self::DynamoDb => &["dynamodb", "SequenceNumber"],
            Self::Kafka => {
                let topic = event.find_string(record, &["topic"])?;
                let partition = event.raw(event.find(record, &["partition"])?);
                let offset = event.raw(event.find(record, &["offset"])?);
                let partition = quote(&format!("{topic}-{partition}"));
                return Some(format!(r#"{{"partition":{partition},"offset":{offset}}}"#));
            }
            _ => return None,
        };
        let found = event.find(record, names)?;
        (event.kind(found) == Kind::String).then(|| event.raw(found).to_owned())
    }

    /// The fields of a record that are base64: the data itself first.
    pub(super) fn encoded(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Kinesis => &[&["kinesis", "data"]],
            Self::Kafka => &[&["value"], &["key"]],
            Self::Mq | Self::RabbitMq => &[&["data"]],
            _ => &[],
        }
    }
}

fn is_fifo(event: &Document<'_>, record: Span) -> bool {
    let queue = event.find_string(record, &["eventSourceARN"]);
    queue.is_some_and(|queue| queue.ends_with(".fifo"))
}
