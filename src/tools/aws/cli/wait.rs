//! `aws SERVICE wait NAME`: repeats an operation until its result is what is waited for.

use std::thread;
use std::time::Duration;

use super::failure::Failure;
use super::search::Expression;
use super::table::{Acceptor, Waiter};
use super::value::Value;

/// Calls `get` until one of the waiter's acceptors ends the waiting.
pub(crate) fn until(
    waiter: &Waiter,
    mut get: impl FnMut() -> Result<Value, Failure>,
) -> Result<(), Failure> {
    let failed = |reason: &str| Failure::other(format!("Waiter {} failed: {reason}", waiter.name));
    let mut tries = 0;
    loop {
        let result = get();
        tries += 1;
        let mut state = "retry";
        let mut is_accepted = false;
        for acceptor in &waiter.acceptors {
            if accepts(acceptor, &result)? {
                (state, is_accepted) = (acceptor.state, true);
                break;
            }
        }
        if let (Err(failure), false) = (result, is_accepted) {
            return Err(match failure.refusal {
                Some(_) => failed(&failure.message),
                None => failure,
            });
        }
        match state {
            "success" => return Ok(()),
            "failure" => return Err(failed("Waiter encountered a terminal failure state")),
            _ if tries >= waiter.max_tries => return Err(failed("Max attempts exceeded")),
            _ => thread::sleep(Duration::from_secs(waiter.delay_seconds)),
        }
    }
}

fn accepts(acceptor: &Acceptor, result: &Result<Value, Failure>) -> Result<bool, Failure> {
    let expected = Value::from_json(acceptor.expected.as_bytes()).unwrap_or_default();
    let found = match (acceptor.matcher, result) {
        ("status", Ok(_)) => return Ok(expected == Value::Integer(200)),
        ("status" | "error", Err(failure)) => {
            let Some((status, code)) = &failure.refusal else {
                return Ok(false);
            };
            return Ok(match acceptor.matcher {
                "status" => expected == Value::Integer((*status).into()),
                _ => expected == Value::text(code),
            });
        }
        ("path" | "pathAll" | "pathAny", Ok(result)) => {
            Expression::parse(acceptor.expression)?.search(result)?
        }
        _ => return Ok(false),
    };
    let elements = found.elements();
    Ok(match acceptor.matcher {
        "path" => found == expected,
        "pathAll" => !elements.is_empty() && elements.iter().all(|element| *element == expected),
        _ => elements.contains(&expected),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::cli::table::Service;

    fn waiter(service: &str, name: &str) -> Waiter {
        let waiter = Service::find(service).and_then(|service| service.waiter(name));
        let waiter = waiter.unwrap_or_else(|| panic!("{service} {name}"));
        Waiter {
            delay_seconds: 0,
            ..waiter
        }
    }

    /// Waits with these results, and returns the error, and how many results were left.
    fn wait(waiter: &Waiter, results: &[&str]) -> (Option<Failure>, usize) {
        let mut left = results.iter();
        let result = until(waiter, || match left.next() {
            Some(text) => Ok(Value::from_json(text.as_bytes()).unwrap_or_default()),
            None => Err(Failure::other("no more")),
        });
        (result.err(), left.count())
    }

    #[test]
    fn the_state_of_all_instances_ends_the_waiting() {
        let running = waiter("ec2", "instance-running");
        let of = |states: &str| format!(r#"{{"Reservations": [{{"Instances": [{states}]}}]}}"#);
        let pending = of(r#"{"State": {"Name": "running"}}, {"State": {"Name": "pending"}}"#);
        let all = of(r#"{"State": {"Name": "running"}}"#);
        let gone = of(r#"{"State": {"Name": "running"}}, {"State": {"Name": "terminated"}}"#);
        assert_eq!(wait(&running, &["{}", &pending, &all, "{}"]), (None, 1));
        let (failure, left) = wait(&running, &[&pending, &gone, &all]);
        assert_eq!(
            (failure.map(|failure| failure.status), left),
            (Some(255), 1)
        );
    }

    #[test]
    fn refusals_and_tries_count() {
        let refused = |code: &str| Failure {
            refusal: Some((400, code.to_owned())),
            ..Failure::other("refused")
        };
        let mut exists = waiter("dynamodb", "table-exists");
        let mut codes = ["ResourceNotFoundException", "AccessDenied"].into_iter();
        let result = until(&exists, || Err(refused(codes.next().unwrap_or_default())));
        assert!(result.is_err_and(|failure| failure.message.ends_with("refused")));
        assert_eq!(codes.next(), None);
        exists.max_tries = 3;
        let (failure, left) = wait(&exists, &["{}"; 5]);
        assert!(failure.is_some_and(|failure| failure.message.contains("Max attempts")));
        assert_eq!(left, 2);
    }
}
