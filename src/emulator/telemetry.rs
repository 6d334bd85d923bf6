//! Lambda's Telemetry API: sends the platform's events and the log to the extensions that subscribe.
//!
//! The subscriber gets arrays of events by POST. It chooses the length of the arrays and how long they may be delayed.
//! Sources: <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html>.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::refusal::Refusal;

/// Lambda's defaults.
const MAX_ITEMS: u64 = 1000;
const TIMEOUT_MS: u64 = 1000;
/// How long a subscriber may take to accept an array.
const POST_LIMIT: Duration = Duration::from_secs(2);
/// How long the last events of a sandbox may take.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);
/// Names of the sandbox itself, which resolve only on Lambda.
const SANDBOX_HOSTS: [&str; 2] = ["sandbox.localdomain", "sandbox"];

/// The subscribers of one sandbox.
#[derive(Debug, Default)]
pub(crate) struct Telemetry {
    subscribers: Mutex<Vec<Subscriber>>,
}

#[derive(Debug)]
struct Subscriber {
    /// `platform` or `function`.
    types: Vec<String>,
    events: mpsc::UnboundedSender<Value>,
    task: JoinHandle<()>,
}

impl Telemetry {
    /// Subscribes an extension with the body of its request.
    ///
    /// # Errors
    /// When the body does not have known `types` and an HTTP `destination`.
    pub(crate) fn subscribe(&self, extension: &str, body: &[u8]) -> Result<(), Refusal> {
        let body: Value = serde_json::from_slice(body).map_err(|_| Refusal::REQUEST_BODY)?;
        let types = body["types"].as_array().into_iter().flatten();
        let types = types.filter_map(|name| name.as_str().map(ToOwned::to_owned));
        let types: Vec<String> = types.collect();
        let is_known = |name: &String| {
            let known = ["platform", "function", "extension"];
            known.contains(&name.as_str())
        };
        let destination = &body["destination"];
        let uri = destination["URI"].as_str().and_then(local_uri);
        let (Some(uri), false, true) = (uri, types.is_empty(), types.iter().all(is_known)) else {
            return Err(Refusal::REQUEST_BODY);
        };
        let number = |name: &str, default| body["buffering"][name].as_u64().unwrap_or(default);
        let max_items = usize::try_from(number("maxItems", MAX_ITEMS)).unwrap_or(usize::MAX);
        let max_delay = Duration::from_millis(number("timeoutMs", TIMEOUT_MS));
        let (events, receiver) = mpsc::unbounded_channel();
        let task = tokio::spawn(deliver(uri, receiver, max_items, max_delay));
        let record = json!({"name": extension, "state": "Subscribed", "types": types});
        // Cannot fail: the task has the receiver.
        let _ = events.send(event("platform.telemetrySubscription", &record));
        self.subscribers().push(Subscriber {
            types,
            events,
            task,
        });
        Ok(())
    }

    /// Sends an event of the platform. Calls `record` only if there are subscribers.
    pub(crate) fn send_platform_event(&self, event_type: &str, record: impl FnOnce() -> Value) {
        let subscribers = self.subscribers();
        if subscribers.is_empty() {
            return;
        }
        let event = event(event_type, &record());
        send(&subscribers, "platform", &event);
    }

    /// Sends whole lines of the function's log, an event for every line.
    pub(crate) fn send_log_lines(&self, lines: &[u8]) {
        let subscribers = self.subscribers();
        if subscribers.is_empty() {
            return;
        }
        for line in String::from_utf8_lossy(lines).lines() {
            send(&subscribers, "function", &event("function", &line.into()));
        }
    }

    /// Sends the last events, within [`CLOSE_LIMIT`], and ends all subscriptions.
    pub(crate) async fn close(&self) {
        let subscribers = std::mem::take(&mut *self.subscribers());
        let end = Instant::now() + CLOSE_LIMIT;
        for Subscriber { events, task, .. } in subscribers {
            drop(events);
            let _ = timeout_at(end, task).await;
        }
    }

    /// Never hold the guard over an `await`.
    fn subscribers(&self) -> MutexGuard<'_, Vec<Subscriber>> {
        self.subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn send(subscribers: &[Subscriber], event_kind: &str, event: &Value) {
    for subscriber in subscribers {
        if subscriber.types.iter().any(|kind| kind == event_kind) {
            // An error means that the task of the subscriber has ended.
            let _ = subscriber.events.send(event.clone());
        }
    }
}

fn event(event_type: &str, record: &Value) -> Value {
    let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    json!({"time": time, "type": event_type, "record": record})
}

/// The URI of a subscriber, with 127.0.0.1 in place of Lambda's names for the sandbox.
fn local_uri(uri: &str) -> Option<String> {
    let rest = uri.strip_prefix("http://")?;
    let end = rest.find([':', '/']).unwrap_or(rest.len());
    let (host, rest) = rest.split_at(end);
    let host = if SANDBOX_HOSTS.contains(&host) {
        "127.0.0.1"
    } else {
        host
    };
    Some(format!("http://{host}{rest}"))
}

/// Posts the events in arrays until the sender is dropped.
async fn deliver(
    uri: String,
    mut events: mpsc::UnboundedReceiver<Value>,
    max_items: usize,
    max_delay: Duration,
) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(POST_LIMIT))
        .proxy(None)
        .build()
        .into();
    while let Some(first) = events.recv().await {
        let mut array = vec![first];
        let end = Instant::now() + max_delay;
        while array.len() < max_items.max(1) {
            match timeout_at(end, events.recv()).await {
                Ok(Some(event)) => array.push(event),
                Ok(None) | Err(_) => break,
            }
        }
        let (agent, uri) = (agent.clone(), uri.clone());
        let post = tokio::task::spawn_blocking(move || {
            let post = agent.post(&uri).header("content-type", "application/json");
            post.send(Value::Array(array).to_string())
        });
        // A subscriber that does not listen loses the events, as on Lambda.
        let _ = timeout(POST_LIMIT, post).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn subscription_needs_types_and_a_destination() {
        let telemetry = Telemetry::default();
        let subscribe = |body: &str| telemetry.subscribe("one", body.as_bytes());
        for wrong in [
            "",
            "{}",
            r#"{"types":["platform"]}"#,
            r#"{"types":[],"destination":{"URI":"http://sandbox:1"}}"#,
            r#"{"types":["other"],"destination":{"URI":"http://sandbox:1"}}"#,
            r#"{"types":["platform"],"destination":{"URI":"tcp://sandbox:1"}}"#,
        ] {
            assert_eq!(subscribe(wrong), Err(Refusal::REQUEST_BODY), "{wrong}");
        }
        let right = r#"{"types":["platform"],"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:1"}}"#;
        assert_eq!(subscribe(right), Ok(()));
    }

    #[test]
    fn names_of_the_sandbox_become_the_local_address() {
        let local = |uri| local_uri(uri).unwrap_or_default();
        assert_eq!(
            local("http://sandbox.localdomain:8080/a"),
            "http://127.0.0.1:8080/a"
        );
        assert_eq!(local("http://sandbox/a"), "http://127.0.0.1/a");
        assert_eq!(local("http://127.0.0.2:80"), "http://127.0.0.2:80");
        assert_eq!(local("https://sandbox"), "");
    }
}
