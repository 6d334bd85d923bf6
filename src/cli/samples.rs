//! Sample events for `coshell invoke --sample`.
//!
//! We wrote the documents in samples/ ourselves, in the format that AWS publishes: with every field, even the optional
//! ones, and with made-up values. The four HTTP samples describe the same request, to show how the formats differ.

use clap::ValueEnum;

/// A sample event. `--help` shows the first line of each.
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
    /// A custom event from an EventBridge bus
    ///
    /// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html>
    #[value(name = "eventbridge")]
    EventBridge,
    /// Two changes in a DynamoDB table
    ///
    /// <https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>
    #[value(name = "dynamodb")]
    DynamoDb,
    /// A scheduled event of an EventBridge rule
    ///
    /// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-run-lambda-schedule.html>
    Scheduled,
}

impl Sample {
    /// The event as Lambda sends it: JSON on one line.
    pub fn event(self) -> String {
        // No string in the documents contains a line break.
        self.document().lines().map(str::trim_start).collect()
    }

    /// The event as it is in the file, without the newline at its end.
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
    fn samples_have_the_fields_that_handlers_read_first() {
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
            let value = |pointer| event.pointer(pointer);
            assert_eq!(value(method), Some(&json!("POST")), "{sample:?}");
            assert_eq!(value(path), Some(&json!("/orders/1042")), "{sample:?}");
            assert_eq!(value("/isBase64Encoded"), Some(&json!(false)), "{sample:?}");
            assert!(
                value("/body").is_some_and(|body| body
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

    /// No sample has the account of a real person.
    #[test]
    fn samples_have_one_account_and_one_region() {
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
    fn samples_have_names_and_a_short_line_of_help() {
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
                "{line} is not a short line"
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
