//! A new bash for each event, from AWS's own Rust runtime: the simplest way to run bash from a native runtime.

use std::process::Stdio;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;
use tokio::process::Command;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(async |event: LambdaEvent<Value>| {
        let mut command = Command::new("bash");
        command.args(["-c", r#". ./function.sh; handler "$1""#, "bash"]);
        command.arg(event.payload.to_string()).stdin(Stdio::null());
        let output = command.stderr(Stdio::inherit()).output().await?;
        if !output.status.success() {
            let cause = format!("the handler ended with {}", output.status);
            return Err(Error::from(cause));
        }
        Ok(String::from_utf8(output.stdout)?)
    }))
    .await
}
