//! The extensions of one sandbox: registered, told of invocations and of the end.
//!
//! The init is over, and an invocation too, when every extension that registered waits for its next
//! event. What the runtime itself registers is an internal extension, which gets no SHUTDOWN; a
//! program in the folder of extensions is an external one.
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::exchange::{Exchange, new_id};
use super::refusal::Refusal;

/// How many Lambda takes.
const MAX_COUNT: usize = 10;

/// One extension.
#[derive(Debug)]
struct Extension {
    identifier: String,
    name: String,
    is_told_of_invocations: bool,
    is_told_of_the_end: bool,
    events: VecDeque<Value>,
    /// Whether it waits for an event.
    is_waiting: bool,
}

impl Extension {
    fn retire(&mut self) {
        self.is_told_of_invocations = false;
        self.is_told_of_the_end = false;
        self.is_waiting = true;
    }
}

/// Those that are registered.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    /// The names of the programs that were started and will register.
    external: Vec<String>,
    registered: Mutex<Vec<Extension>>,
    told: Notify,
}

impl Extensions {
    /// None yet, but these programs will register.
    pub(crate) fn new(external: Vec<String>) -> Self {
        Self {
            external,
            ..Self::default()
        }
    }

    /// Registers one, from `{"events": [...]}`; gives its identifier.
    ///
    /// # Errors
    /// Without a name, with one that is there, with events that there are not for it, or beyond
    /// Lambda's limit.
    pub(crate) fn register(&self, name: &str, body: &[u8]) -> Result<String, Refusal> {
        let body: Value = serde_json::from_slice(body).map_err(|_| Refusal::REQUEST_BODY)?;
        let events = match &body["events"] {
            Value::Null => &[],
            Value::Array(events) => events.as_slice(),
            _ => return Err(Refusal::REQUEST_BODY),
        };
        let is_known = |event: &Value| event == "INVOKE" || event == "SHUTDOWN";
        let is_told_of_the_end = events.iter().any(|event| event == "SHUTDOWN");
        let is_external = self.external.iter().any(|external| external == name);
        if !events.iter().all(is_known) || (is_told_of_the_end && !is_external) {
            return Err(Refusal::EXTENSION_EVENT);
        }
        if name.is_empty() {
            return Err(Refusal::EXTENSION_NAME);
        }
        let mut registered = self.registered();
        if registered.iter().any(|extension| extension.name == name) {
            return Err(Refusal::EXTENSION_TWICE);
        }
        if registered.len() == MAX_COUNT {
            return Err(Refusal::EXTENSION_COUNT);
        }
        let identifier = new_id();
        registered.push(Extension {
            identifier: identifier.clone(),
            name: name.to_owned(),
            is_told_of_invocations: events.iter().any(|event| event == "INVOKE"),
            is_told_of_the_end,
            events: VecDeque::new(),
            is_waiting: false,
        });
        Ok(identifier)
    }

    /// Whether this program was started, and has not registered.
    pub(crate) fn is_awaited(&self, name: &str) -> bool {
        let is_registered = self.registered().iter().any(|one| one.name == name);
        !is_registered && self.external.iter().any(|external| external == name)
    }

    /// What the extension is called.
    ///
    /// # Errors
    /// When no such extension is registered.
    pub(crate) fn name_of(&self, identifier: &str) -> Result<String, Refusal> {
        let registered = self.registered();
        let found = registered
            .iter()
            .find(|extension| extension.identifier == identifier);
        let found = found.map(|extension| extension.name.clone());
        found.ok_or(Refusal::EXTENSION_IDENTIFIER)
    }

    /// The extension's next event, once there is one. `waits` is called when it has to wait.
    ///
    /// # Errors
    /// When no such extension is registered.
    pub(crate) async fn next_event(
        &self,
        identifier: &str,
        waits: impl Fn(),
    ) -> Result<Value, Refusal> {
        loop {
            let told = self.told.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if let Some(event) = self.take_event(identifier)? {
                return Ok(event);
            }
            waits();
            told.await;
        }
    }

    fn take_event(&self, identifier: &str) -> Result<Option<Value>, Refusal> {
        let mut registered = self.registered();
        let found = registered
            .iter_mut()
            .find(|extension| extension.identifier == identifier);
        let extension = found.ok_or(Refusal::EXTENSION_IDENTIFIER)?;
        let event = extension.events.pop_front();
        extension.is_waiting = event.is_none();
        Ok(event)
    }

    /// A program has ended: it is told of nothing more, and not waited for if it had registered.
    pub(crate) fn end(&self, name: &str) {
        let mut registered = self.registered();
        if let Some(extension) = registered.iter_mut().find(|one| one.name == name) {
            extension.retire();
        }
    }

    /// An extension that has given up is told of nothing more, and not waited for.
    ///
    /// # Errors
    /// When no such extension is registered.
    pub(crate) fn retire(&self, identifier: &str) -> Result<(), Refusal> {
        let mut registered = self.registered();
        let found = registered
            .iter_mut()
            .find(|extension| extension.identifier == identifier);
        found.ok_or(Refusal::EXTENSION_IDENTIFIER)?.retire();
        Ok(())
    }

    /// Tells those that want to know of an invocation.
    pub(crate) fn tell_of_invocation(&self, exchange: &Exchange) {
        self.tell(
            |extension| extension.is_told_of_invocations,
            || {
                json!({
                    "eventType": "INVOKE",
                    "deadlineMs": u64::try_from(exchange.deadline_ms).unwrap_or(u64::MAX),
                    "requestId": exchange.request_id,
                    "invokedFunctionArn": exchange.function_arn,
                    "tracing": {"type": "X-Amzn-Trace-Id", "value": exchange.trace_id},
                })
            },
        );
    }

    /// Tells those that want to know of the end, which comes in `grace`; whether there are any.
    pub(crate) fn tell_of_end(&self, grace: Duration) -> bool {
        let deadline = SystemTime::now() + grace;
        let since_epoch = deadline.duration_since(UNIX_EPOCH);
        let deadline_ms = u64::try_from(since_epoch.unwrap_or_default().as_millis());
        self.tell(
            |extension| extension.is_told_of_the_end,
            || {
                json!({
                    "eventType": "SHUTDOWN",
                    "shutdownReason": "spindown",
                    "deadlineMs": deadline_ms.unwrap_or(u64::MAX),
                })
            },
        )
    }

    fn tell(&self, whom: impl Fn(&Extension) -> bool, event: impl Fn() -> Value) -> bool {
        let mut is_anyone_told = false;
        for extension in self.registered().iter_mut().filter(|one| whom(one)) {
            extension.events.push_back(event());
            extension.is_waiting = false;
            is_anyone_told = true;
        }
        if is_anyone_told {
            self.told.notify_waiters();
        }
        is_anyone_told
    }

    /// Whether all that will register have done so, and wait for an event.
    pub(crate) fn are_waiting(&self) -> bool {
        let registered = self.registered();
        let is_registered =
            |name: &String| registered.iter().any(|extension| extension.name == *name);
        self.external.iter().all(is_registered)
            && registered.iter().all(|extension| extension.is_waiting)
    }

    /// Never held over an `await`.
    fn registered(&self) -> MutexGuard<'_, Vec<Extension>> {
        self.registered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::exchange::Event;
    use super::*;

    const INVOKE: &[u8] = br#"{"events":["INVOKE"]}"#;

    fn exchange() -> Exchange {
        Exchange::open("id", Event::default(), "arn", Duration::from_secs(1)).0
    }

    #[test]
    fn registration_is_refused_as_lambda_refuses_it() {
        let extensions = Extensions::new(vec!["outer".to_owned()]);
        let shutdown = br#"{"events":["SHUTDOWN"]}"#;
        let register = |name: &str, body: &[u8]| extensions.register(name, body).map(drop);
        assert_eq!(register("", INVOKE), Err(Refusal::EXTENSION_NAME));
        assert_eq!(register("inner", shutdown), Err(Refusal::EXTENSION_EVENT));
        assert_eq!(
            register("inner", br#"{"events":["OTHER"]}"#),
            Err(Refusal::EXTENSION_EVENT)
        );
        assert_eq!(register("inner", b"events"), Err(Refusal::REQUEST_BODY));
        assert_eq!(register("outer", shutdown), Ok(()));
        assert_eq!(register("outer", shutdown), Err(Refusal::EXTENSION_TWICE));
        for number in 1..MAX_COUNT {
            assert_eq!(register(&number.to_string(), b"{}"), Ok(()));
        }
        assert_eq!(register("one more", b"{}"), Err(Refusal::EXTENSION_COUNT));
    }

    #[tokio::test]
    async fn extension_is_told_of_invocations_and_waits_again() {
        let extensions = Extensions::default();
        let identifier = extensions.register("one", INVOKE).unwrap_or_default();
        assert!(!extensions.are_waiting());
        assert_eq!(extensions.take_event(&identifier), Ok(None));
        assert!(extensions.are_waiting());
        extensions.tell_of_invocation(&exchange());
        assert!(!extensions.are_waiting());
        let event = extensions.next_event(&identifier, || {}).await;
        assert_eq!(
            event.map(|event| event["requestId"].clone()),
            Ok(json!("id"))
        );
        assert!(!extensions.are_waiting());
        assert_eq!(
            extensions.take_event("stray"),
            Err(Refusal::EXTENSION_IDENTIFIER)
        );
    }

    #[test]
    fn program_that_has_not_registered_is_waited_for() {
        let extensions = Extensions::new(vec!["outer".to_owned()]);
        assert!(!extensions.are_waiting());
        assert!(extensions.is_awaited("outer") && !extensions.is_awaited("inner"));
        let identifier = extensions.register("outer", b"{}").unwrap_or_default();
        assert!(!extensions.is_awaited("outer"));
        assert_eq!(extensions.take_event(&identifier), Ok(None));
        assert!(extensions.are_waiting());
        extensions.tell_of_invocation(&exchange());
        assert!(extensions.are_waiting());
    }

    #[test]
    fn extension_that_has_given_up_is_not_waited_for() {
        let extensions = Extensions::default();
        let identifier = extensions.register("one", INVOKE).unwrap_or_default();
        assert_eq!(extensions.retire(&identifier), Ok(()));
        extensions.tell_of_invocation(&exchange());
        assert!(extensions.are_waiting());
        assert_eq!(
            extensions.retire("stray"),
            Err(Refusal::EXTENSION_IDENTIFIER)
        );
    }
}
