//! The records of each source's events, what is in them, and how a batch answers.

use coshell_calls::{Batch, Document, EventSource, RecordOptions, batch_failures, records};

use crate::caller::Place;

const S3: &str = include_str!("../../src/cli/samples/s3.json");
const SQS: &str = include_str!("../../src/cli/samples/sqs.json");
const SNS: &str = include_str!("../../src/cli/samples/sns.json");
const DYNAMODB: &str = include_str!("../../src/cli/samples/dynamodb.json");
const EVENTBRIDGE: &str = include_str!("../../src/cli/samples/eventbridge.json");
const SCHEDULED: &str = include_str!("../../src/cli/samples/scheduled.json");
const REQUEST: &str = include_str!("../../src/cli/samples/api-gateway-v2.json");

const KINESIS: &str = r#"{"Records":[
  {"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"order-1042","sequenceNumber":"49590338271490256608559692538361571095921575989136588898",
    "data":"eyJvcmRlciI6IDEwNDJ9","approximateArrivalTimestamp":1795425247.312},"eventSource":"aws:kinesis","eventVersion":"1.0",
    "eventID":"shardId-000000000006:1","eventName":"aws:kinesis:record","awsRegion":"us-east-1"},
  {"kinesis":{"partitionKey":"x","sequenceNumber":"49590338271490256608559692540925702759324208523137515618","data":"cGxhaW4="},"eventSource":"aws:kinesis"},
  {"kinesis":{"partitionKey":"y","sequenceNumber":"3","data":"/w=="},"eventSource":"aws:kinesis"}]}"#;

const KAFKA: &str = r#"{"eventSource":"aws:kafka","eventSourceArn":"arn:aws:kafka:us-east-1:012345678912:cluster/orders/1",
  "bootstrapServers":"b-1.example.com:9092","records":{
    "orders-0":[{"topic":"orders","partition":0,"offset":15,"timestamp":1795425247312,"timestampType":"CREATE_TIME",
      "key":"MTA0Mg==","value":"eyJvcmRlciI6IDEwNDJ9","headers":[{"trace":[97,98]}]},
      {"topic":"orders","partition":0,"offset":16,"key":null,"value":null,"headers":[]}],
    "orders-1":[{"topic":"orders","partition":1,"offset":3,"value":"cGxhaW4=","headers":[]}]}}"#;

const MQ: &str = r#"{"eventSource":"aws:mq","eventSourceArn":"arn:aws:mq:us-east-1:012345678912:broker:b:b-1",
  "messages":[{"messageID":"ID:b-1.mq-1:1:1:1:1","messageType":"jms/text-message","data":"cGxhaW4=","destination":{"physicalName":"orders"}},
    {"messageID":"ID:2","messageType":"jms/bytes-message","data":"/w=="}]}"#;

const RABBITMQ: &str = r#"{"eventSource":"aws:rmq","eventSourceArn":"arn:aws:mq:us-east-1:012345678912:broker:r:b-2",
  "rmqMessagesByQueue":{"orders::/":[{"basicProperties":{"contentType":"text/plain"},"redelivered":false,"data":"cGxhaW4="}],
    "returns::/":[{"basicProperties":{},"redelivered":true,"data":"e30="}]}}"#;

const PLAIN: RecordOptions = RecordOptions {
    unwrap: false,
    decode: false,
};
const DECODED: RecordOptions = RecordOptions {
    unwrap: false,
    decode: true,
};
const UNWRAPPED: RecordOptions = RecordOptions {
    unwrap: true,
    decode: false,
};

fn batch(event: &str, options: RecordOptions) -> Batch {
    let document = Document::borrowed(event.as_bytes()).expect("JSON");
    records(&document, options).expect("records")
}

fn events(batch: &Batch) -> Vec<&str> {
    let events = batch.records.iter().map(|record| &record.event);
    events
        .map(|event| event.as_deref().unwrap_or_else(|cause| cause))
        .collect()
}

/// A field of the record of this number.
fn field(batch: &Batch, number: usize, path: &str) -> String {
    let event = batch.records[number].event.as_deref().expect("an event");
    Place::with_event(event).get(path)
}

fn fifo() -> String {
    SQS.replace(
        "012345678912:example-orders",
        "012345678912:example-orders.fifo",
    )
}

#[test]
fn sources_are_known_with_what_they_can() {
    for (event, name, count, is_ordered, takes_failures) in [
        (SQS, "sqs", 2, false, true),
        (&fifo(), "sqs-fifo", 2, true, true),
        (SNS, "sns", 1, false, false),
        (S3, "s3", 1, false, false),
        (KINESIS, "kinesis", 3, true, true),
        (DYNAMODB, "dynamodb", 2, true, true),
        (EVENTBRIDGE, "eventbridge", 1, false, false),
        (SCHEDULED, "eventbridge", 1, false, false),
        (KAFKA, "kafka", 3, true, true),
        (
            &KAFKA.replace("aws:kafka", "SelfManagedKafka"),
            "kafka",
            3,
            true,
            true,
        ),
        (MQ, "mq", 2, false, false),
        (RABBITMQ, "rabbitmq", 2, false, false),
        (
            r#"{"Records":[{"eventSource":"aws:ses","ses":{}}]}"#,
            "none",
            1,
            false,
            false,
        ),
        (r#"{"Records":[]}"#, "none", 0, false, false),
    ] {
        let found = batch(event, PLAIN);
        assert_eq!(found.source.name(), name);
        assert_eq!(found.records.len(), count, "{name}");
        assert_eq!(found.source.is_ordered(), is_ordered, "{name}");
        assert_eq!(
            found.source.takes_batch_failures(),
            takes_failures,
            "{name}"
        );
    }
    for (event, expected) in [
        (
            REQUEST,
            "it is of no source with records; it has version, routeKey, rawPath, rawQueryString, cookies, headers, queryStringParameters, requestContext, body, pathParameters, isBase64Encoded, stageVariables",
        ),
        (
            r#"{"Records":1}"#,
            "it is of no source with records; it has Records",
        ),
        ("[]", "it has no fields"),
    ] {
        let document = Document::borrowed(event.as_bytes()).expect("JSON");
        let error = records(&document, PLAIN).expect_err("none");
        assert_eq!(
            error.message,
            format!("cannot read the records of the event: {expected}")
        );
    }
}

#[test]
fn identifiers_are_those_that_lambda_takes_back() {
    let identifiers = |event: &str| -> Vec<String> {
        let records = batch(event, PLAIN).records.into_iter();
        records
            .map(|record| record.identifier.unwrap_or_default())
            .collect()
    };
    let (first, second) = (
        "\"5d0c2b6e-0f1a-4c87-9a53-2f4d5e6a7b81\"",
        "\"8be4f7a9-61d2-4b0e-8c3f-90a1b2c3d4e5\"",
    );
    assert_eq!(identifiers(SQS), [first, second]);
    assert_eq!(identifiers(&fifo()), [first, second]);
    assert_eq!(identifiers(DYNAMODB)[0], "\"100000000000000000001\"");
    assert_eq!(identifiers(KINESIS)[2], "\"3\"");
    assert_eq!(
        identifiers(KAFKA),
        [
            r#"{"partition":"orders-0","offset":15}"#,
            r#"{"partition":"orders-0","offset":16}"#,
            r#"{"partition":"orders-1","offset":3}"#
        ]
    );
    for event in [SNS, S3, EVENTBRIDGE, MQ, RABBITMQ] {
        assert!(identifiers(event).iter().all(String::is_empty), "{event}");
    }
    let kafka = identifiers(KAFKA);
    let answer = batch_failures([first, second, first, &kafka[0]]);
    assert_eq!(
        answer,
        format!(
            r#"{{"batchItemFailures":[{{"itemIdentifier":{first}}},{{"itemIdentifier":{second}}},{{"itemIdentifier":{{"partition":"orders-0","offset":15}}}}]}}"#
        )
    );
    assert_eq!(batch_failures([]), r#"{"batchItemFailures":[]}"#);
    assert!(Document::borrowed(answer.as_bytes()).is_ok());
}

#[test]
fn keys_of_s3_are_decoded() {
    let found = batch(S3, PLAIN);
    assert_eq!(
        field(&found, 0, ".s3.object.key"),
        "incoming/March (final).csv"
    );
    assert_eq!(
        field(&found, 0, ".s3.object.urlEncodedKey"),
        "incoming/March+%28final%29.csv"
    );
    assert_eq!(field(&found, 0, ".s3.object.size"), "48213");
    assert_eq!(field(&found, 0, ".s3.bucket.name"), "example-invoices");
    let quoted = batch(&S3.replace("March+%28final%29", "%22%C3%BC%5C%0A"), PLAIN);
    assert_eq!(field(&quoted, 0, ".s3.object.key"), "incoming/\"ü\\\n.csv");
    // No key of S3 is anything but UTF-8; then it stays as it came.
    let odd = batch(&S3.replace("March+%28final%29", "%FF"), PLAIN);
    assert_eq!(field(&odd, 0, ".s3.object.key"), "incoming/%FF.csv");
}

#[test]
fn data_are_decoded_on_demand() {
    let plain = batch(KINESIS, PLAIN);
    assert_eq!(field(&plain, 0, ".kinesis.data"), "eyJvcmRlciI6IDEwNDJ9");
    let kinesis = batch(KINESIS, DECODED);
    assert_eq!(
        field(&kinesis, 0, ".kinesis.data | fromjson | .order"),
        "1042"
    );
    assert_eq!(field(&kinesis, 0, ".kinesis.partitionKey"), "order-1042");
    assert_eq!(field(&kinesis, 1, ".kinesis.data"), "plain");
    let cause = "its kinesis.data is not UTF-8; read it without --decode and --unwrap, and decode it into a file";
    assert_eq!(kinesis.records[2].event, Err(cause.to_owned()));
    let kafka = batch(KAFKA, DECODED);
    assert_eq!(field(&kafka, 0, ".key"), "1042");
    assert_eq!(field(&kafka, 0, ".value | fromjson | .order"), "1042");
    assert_eq!(field(&kafka, 1, ".value | type"), "null");
    assert_eq!(field(&kafka, 2, ".value"), "plain");
    assert_eq!(field(&batch(MQ, DECODED), 0, ".data"), "plain");
    assert_eq!(field(&batch(RABBITMQ, DECODED), 1, ".data"), "{}");
    assert_eq!(
        field(&batch(SQS, DECODED), 0, ".body | fromjson | .order"),
        "1042"
    );
}

/// A message of SNS as it is in the body of one of SQS, with `message` in it.
fn notification(message: &str) -> String {
    let fields = [
        "Type=Notification",
        "TopicArn=arn:aws:sns:us-east-1:012345678912:t",
        &format!("Message={message}"),
    ];
    let reply = Place::default().call("json", &fields).expect("JSON");
    String::from_utf8(reply.output).expect("UTF-8")
}

fn sqs_with(body: &str) -> String {
    let fields = [
        format!("body={body}"),
        "messageId=m1".to_owned(),
        "eventSource=aws:sqs".to_owned(),
    ];
    let record = Place::default().call("json", &fields).expect("JSON").output;
    format!("{{\"Records\":[{}]}}", String::from_utf8_lossy(&record))
}

#[test]
fn messages_are_opened_on_demand() {
    let sqs = batch(SQS, UNWRAPPED);
    assert_eq!(
        events(&sqs),
        [
            r#"{"order": 1042, "total": "18.50"}"#,
            r#"{"order": 1043, "total": "7.20"}"#
        ]
    );
    assert_eq!(
        sqs.records[1].identifier,
        batch(SQS, PLAIN).records[1].identifier
    );
    assert_eq!(
        events(&batch(SNS, UNWRAPPED)),
        ["db-1.example.com: /var is at 91 %"]
    );
    assert_eq!(
        events(&batch(KAFKA, UNWRAPPED)),
        [r#"{"order": 1042}"#, "null", "plain"]
    );
    assert_eq!(events(&batch(RABBITMQ, UNWRAPPED)), ["plain", "{}"]);
    assert_eq!(batch(EVENTBRIDGE, UNWRAPPED), batch(EVENTBRIDGE, PLAIN));
    assert_eq!(batch(S3, UNWRAPPED), batch(S3, PLAIN));
    for (body, expected) in [
        ("plain \"text\"\n", "plain \"text\"\n"),
        ("", ""),
        ("[1, 2]", "[1, 2]"),
        (r#""a""#, r#""a""#),
        (r#" "a" "#, r#" "a" "#),
        ("a\0b", r#""a\u0000b""#),
        (&notification("plain"), "plain"),
        (&notification("{\"a\":1}"), r#"{"a":1}"#),
        (r#"{"Type":"Notification"}"#, r#"{"Type":"Notification"}"#),
        (r#"{"Records":[]}"#, r#"{"Records":[]}"#),
    ] {
        assert_eq!(
            events(&batch(&sqs_with(body), UNWRAPPED)),
            [expected],
            "{body}"
        );
    }
}

#[test]
fn events_of_s3_in_messages_are_opened() {
    let two = S3.replacen(
        "{\n  \"Records\": [",
        "{\"Records\": [{\"eventSource\":\"aws:s3\",\"s3\":{\"object\":{\"key\":\"a+b\"}}},",
        1,
    );
    for event in [sqs_with(&two), sqs_with(&notification(&two))] {
        let found = batch(&event, UNWRAPPED);
        assert_eq!(found.source, EventSource::Sqs);
        assert_eq!(found.records.len(), 2);
        assert_eq!(field(&found, 0, ".s3.object.key"), "a b");
        assert_eq!(
            field(&found, 1, ".s3.object.key"),
            "incoming/March (final).csv"
        );
        let identifier = Some("\"m1\"".to_owned());
        assert!(
            found
                .records
                .iter()
                .all(|record| record.identifier == identifier)
        );
    }
    let message = SNS.replace("\"db-1.example.com: /var is at 91 %\"", &{
        let quoted = Place::default()
            .call("json", &["--quote", S3])
            .expect("JSON")
            .output;
        String::from_utf8(quoted)
            .expect("UTF-8")
            .trim_end()
            .to_owned()
    });
    assert_eq!(
        field(&batch(&message, UNWRAPPED), 0, ".s3.object.key"),
        "incoming/March (final).csv"
    );
    // What S3 sends when a notification is set up.
    let test = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}"#;
    assert_eq!(events(&batch(&sqs_with(test), UNWRAPPED)), [test]);
}

#[test]
fn messages_without_end_are_opened_three_times_only() {
    let mut message = "inner".to_owned();
    for _ in 0..6 {
        message = notification(&message);
    }
    let found = batch(&sqs_with(&message), UNWRAPPED);
    let event = found.records[0].event.as_deref().expect("an event");
    assert!(event.contains("\"Type\":\"Notification\""), "{event}");
}
