//! Events as AWS's services send them, for `coshell invoke --sample`.
//!
//! The documents in samples/ are our own, of the shapes that AWS publishes: with every field, the
//! optional ones too, and with values that belong to nobody. The four for HTTP are one and the same
//! request, so that they show where the shapes differ.

use clap::ValueEnum;

/// A sample event. The first line of each is what `--help` says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sample {
    /// An object was created in an S3 bucket
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>
    S3,
    /// Two messages of an SQS queue
    ///
    /// <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>
    Sqs,
    /// A message of an SNS topic
    ///
    /// <https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html>
    Sns,
    /// A request through API Gateway, REST API
    ///
    /// <https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html#api-gateway-simple-proxy-for-lambda-input-format>
    ApiGatewayV1,
    /// A request through API Gateway, HTTP API
    ///
    /// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
    ApiGatewayV2,
    /// A request through a function URL
    ///
    /// <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads>
    FunctionUrl,
    /// A request through an Application Load Balancer
    ///
    /// <https://docs.aws.amazon.com/lambda/latest/dg/services-alb.html>
    Alb,
    /// An event of your own from an EventBridge bus
    ///
    /// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html>
    #[value(name = "eventbridge")]
    EventBridge,
    /// Two changes in a DynamoDB table
    ///
    /// <https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>
    #[value(name = "dynamodb")]
    DynamoDb,
    /// A schedule of an EventBridge rule
    ///
    /// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-run-lambda-schedule.html>
    Scheduled,
}

impl Sample {
    /// The event as Lambda sends it: JSON on one line.
    pub fn event(self) -> String {
        // Our documents have no line breaks but those between their parts.
        self.document().lines().map(str::trim_start).collect()
    }

    /// The event: JSON on many lines, without a newline at its end.
    pub fn document(self) -> &'static str {
        let file = match self {
            Self::S3 => include_str!("samples/s3.json"),
            Self::Sqs => include_str!("samples/sqs.json"),
            Self::Sns => include_str!("samples/sns.json"),
            Self::ApiGatewayV1 => include_str!("samples/api-gateway-v1.json"),
            Self::ApiGatewayV2 => include_str!("samples/api-gateway-v2.json"),
            Self::FunctionUrl => include_str!("samples/function-url.json"),
            Self::Alb => include_str!("samples/alb.json"),
            Self::EventBridge => include_str!("samples/eventbridge.json"),
            Self::DynamoDb => include_str!("samples/dynamodb.json"),
            Self::Scheduled => include_str!("samples/scheduled.json"),
        };
        file.trim_end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parsed(sample: Sample) -> Value {
        serde_json::from_str(sample.document()).unwrap_or_else(|error| json!(error.to_string()))
    }

    #[test]
    fn every_sample_is_a_small_json_object() {
        for sample in Sample::value_variants() {
            let document = sample.document();
            assert!(parsed(*sample).is_object(), "{sample:?}");
            assert!(document.ends_with('}'), "{sample:?}");
            assert!(document.len() < 4096, "{sample:?}");
        }
    }

    #[test]
    fn samples_have_what_a_handler_reads_first() {
        let http = [
            (Sample::ApiGatewayV1, "/httpMethod", "/path"),
            (
                Sample::ApiGatewayV2,
                "/requestContext/http/method",
                "/rawPath",
            ),
            (
                Sample::FunctionUrl,
                "/requestContext/http/method",
                "/rawPath",
            ),
            (Sample::Alb, "/httpMethod", "/path"),
        ];
        for (sample, method, path) in http {
            let event = parsed(sample);
            let at = |pointer| event.pointer(pointer);
            assert_eq!(at(method), Some(&json!("POST")), "{sample:?}");
            assert_eq!(at(path), Some(&json!("/orders/1042")), "{sample:?}");
            assert_eq!(at("/isBase64Encoded"), Some(&json!(false)), "{sample:?}");
            assert!(
                at("/body").is_some_and(|body| body
                    .as_str()
                    .is_some_and(|body| serde_json::from_str::<Value>(body).is_ok())),
                "{sample:?}"
            );
        }
        for (sample, pointer, value) in [
            (Sample::S3, "/Records/0/s3/bucket/name", "example-invoices"),
            (
                Sample::S3,
                "/Records/0/s3/object/key",
                "incoming/March+%28final%29.csv",
            ),
            (Sample::Sqs, "/Records/0/eventSource", "aws:sqs"),
            (
                Sample::Sqs,
                "/Records/1/body",
                r#"{"order": 1043, "total": "7.20"}"#,
            ),
            (
                Sample::Sns,
                "/Records/0/Sns/Message",
                "db-1.example.com: /var is at 91 %",
            ),
            (Sample::EventBridge, "/detail-type", "Order Placed"),
            (Sample::EventBridge, "/detail/total", "18.50"),
            (
                Sample::DynamoDb,
                "/Records/0/dynamodb/NewImage/state/S",
                "paid",
            ),
            (Sample::DynamoDb, "/Records/1/eventName", "REMOVE"),
            (Sample::Scheduled, "/detail-type", "Scheduled Event"),
            (Sample::Scheduled, "/time", "2026-11-23T03:00:00Z"),
        ] {
            let event = parsed(sample);
            assert_eq!(event.pointer(pointer), Some(&json!(value)), "{sample:?}");
        }
    }

    /// Nothing that could be somebody's.
    #[test]
    fn samples_are_of_one_account_in_one_region() {
        for sample in Sample::value_variants() {
            for arn in sample.document().split("\"arn:aws:").skip(1) {
                let parts: Vec<_> = arn.split(':').collect();
                let (region, account) = (parts[1], parts[2]);
                assert!(matches!(region, "us-east-1" | ""), "{sample:?}: {arn}");
                assert!(matches!(account, "012345678912" | ""), "{sample:?}: {arn}");
            }
        }
    }

    #[test]
    fn samples_have_the_names_of_their_files_and_a_line_of_help() {
        let values = Sample::value_variants().iter().filter_map(|sample| {
            let value = sample.to_possible_value()?;
            Some((value.get_name().to_owned(), value.get_help()?.to_string()))
        });
        let (names, help): (Vec<_>, Vec<_>) = values.unzip();
        let expected = "s3 sqs sns api-gateway-v1 api-gateway-v2 function-url alb eventbridge dynamodb scheduled";
        assert_eq!(names.join(" "), expected);
        for line in help {
            assert!(
                line.len() < 60 && !line.contains("http"),
                "{line} is no short line"
            );
        }
    }

    #[test]
    fn event_is_the_document_on_one_line() -> serde_json::Result<()> {
        for sample in Sample::value_variants() {
            let event = sample.event();
            assert!(!event.contains('\n'), "{sample:?}");
            let event: serde_json::Value = serde_json::from_str(&event)?;
            assert_eq!(
                event,
                serde_json::from_str::<serde_json::Value>(sample.document())?
            );
        }
        Ok(())
    }
}
