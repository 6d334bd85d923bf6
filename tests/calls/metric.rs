//! `lambda_metric`: a line that CloudWatch reads as a metric.

use crate::caller::Place;
use crate::programs::python;

fn metric(arguments: &[&str]) -> Result<String, String> {
    let reply = Place::default().call("metric", arguments)?;
    Ok(String::from_utf8(reply.output).expect("UTF-8"))
}

#[test]
fn metric_is_one_line_of_the_embedded_format() {
    assert_eq!(
        metric(&[
            "--namespace",
            "shop",
            "orders",
            "3",
            "Count",
            "region=eu \"1\"",
            "kind=a=b"
        ])
        .as_deref(),
        Ok(concat!(
            r#"{"_aws":{"Timestamp":1795425247312,"CloudWatchMetrics":[{"Namespace":"shop","#,
            r#""Dimensions":[["region","kind"]],"Metrics":[{"Name":"orders","Unit":"Count"}]}]},"#,
            r#""region":"eu \"1\"","kind":"a=b","orders":3}"#,
            "\n"
        ))
    );
    let line = metric(&["t", "-1.5e3", "a=1", "--namespace", "é"]).expect("a line");
    let script = "import json, sys
document = json.load(sys.stdin)
metrics = document['_aws']['CloudWatchMetrics'][0]
print(metrics['Namespace'], metrics['Metrics'], metrics['Dimensions'], document['t'], document['a'])";
    assert_eq!(
        python(script, line.as_bytes()),
        "é [{'Name': 't', 'Unit': 'None'}] [['a']] -1500.0 1\n"
    );
}

#[test]
fn what_cloudwatch_would_drop_is_refused() {
    let long = "x".repeat(251);
    for (arguments, expected) in [
        (
            &["n", "1"][..],
            "cannot write metric n: it has no namespace; give one by --namespace",
        ),
        (
            &["--namespace", "s", "n"],
            "cannot use lambda_metric: expected NAME VALUE [UNIT] [DIMENSION=VALUE]...",
        ),
        (
            &["--namespace", "s", "n", "x"],
            "cannot write metric n: its value x is not a number",
        ),
        (
            &["--namespace", "s", "n", "NaN"],
            "cannot write metric n: its value NaN is not a number",
        ),
        (
            &["--namespace", "s", "n", "1\n"],
            "cannot write metric n: its value has white space around it",
        ),
        (
            &["--namespace", "s", "n", "\n1"],
            "cannot write metric n: its value has white space around it",
        ),
        (
            &["--namespace", "s", "n", "1e109"],
            "cannot write metric n: its value 1e109 is too large for CloudWatch",
        ),
        (
            &["--namespace", "s", "n", "1", "count"],
            "cannot write metric n: there is no unit count; did you mean Count?",
        ),
        (
            &["--namespace", "s", "n", "1", "millisecond"],
            "cannot write metric n: there is no unit millisecond; did you mean Milliseconds?",
        ),
        (
            &["--namespace", "s", "n", "1", "Count", "a=b", "secret"],
            "cannot write metric n: expected DIMENSION=VALUE as dimension 2; it has no =",
        ),
        (
            &["--namespace", "s", "n", "1", "n=x"],
            "cannot write metric n: the name n is there twice",
        ),
        (
            &["--namespace", "s", "n", "1", "a=x", "a=y"],
            "cannot write metric n: the name a is there twice",
        ),
        (
            &["--namespace", "s", "n", "1", "a="],
            "cannot write metric n: the value of dimension a has 0 bytes, and may have 1 to 1024",
        ),
        (
            &["--namespace", ":s", "n", "1"],
            "cannot write metric n: the namespace begins with a colon",
        ),
        (
            &["--namespace", "s", "_aws", "1"],
            "cannot write metric _aws: its name is _aws, where the format keeps its own",
        ),
        (
            &["-n", "n", "1"],
            "cannot use lambda_metric: there is no option -n; there are --namespace NS",
        ),
    ] {
        assert_eq!(metric(arguments), Err(expected.to_owned()), "{arguments:?}");
    }
    for value in [
        "1e108",
        "-0.01E+111",
        "1e99999999999999999999",
        &"9".repeat(109),
    ] {
        let error = metric(&["--namespace", "s", "n", value]).expect_err("refused");
        assert!(error.ends_with(" is too large for CloudWatch"), "{error}");
    }
    for value in [
        "9.9e107",
        "0.0001e111",
        "-1e-99999999999999999999",
        "0e999",
        &"9".repeat(108),
    ] {
        assert!(metric(&["--namespace", "s", "n", value]).is_ok(), "{value}");
    }
    let error = metric(&["--namespace", "s", &long, "1"]).expect_err("refused");
    assert!(
        error.ends_with("its name is longer than 250 bytes"),
        "{error}"
    );
    let many: Vec<String> = (0..31).map(|number| format!("d{number}=x")).collect();
    let mut arguments = vec!["--namespace", "s", "n", "1"];
    arguments.extend(many.iter().map(String::as_str));
    let error = metric(&arguments).expect_err("refused");
    assert!(
        error.ends_with("it has 31 dimensions, and may have 30"),
        "{error}"
    );
}
