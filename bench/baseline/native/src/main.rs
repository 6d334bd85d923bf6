//! The echo service on AWS's own Rust runtime: the fast end of the comparison.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(async |event: LambdaEvent<Value>| {
        Ok::<_, Error>(format!("Echoing request: '{}'", event.payload))
    }))
    .await
}
