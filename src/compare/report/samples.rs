//! Every sample as CSV: `runtime,metric,unit,event_bytes,round,sample,value`. Rounds and samples are counted from 1.

use serde_json::Value;

use super::super::results::Results;

/// The CSV, with a header.
///
/// # Errors
/// If it cannot be encoded.
pub fn csv(results: &Results) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "runtime",
        "metric",
        "unit",
        "event_bytes",
        "round",
        "sample",
        "value",
    ])?;
    for series in &results.series {
        // The metric has the name that the JSON has.
        let metric = serde_json::to_value(series.metric);
        let metric = metric
            .ok()
            .as_ref()
            .and_then(Value::as_str)
            .map(ToOwned::to_owned);
        let metric = metric.unwrap_or_default();
        let size = series.event_bytes.map(|bytes| bytes.to_string());
        let size = size.unwrap_or_default();
        for (round, samples) in (1..).zip(&series.rounds) {
            for (number, value) in (1..).zip(samples) {
                writer.write_record([
                    series.runtime.as_str(),
                    &metric,
                    series.metric.unit(),
                    &size,
                    &format!("{round}"),
                    &format!("{number}"),
                    &value.to_string(),
                ])?;
            }
        }
    }
    writer
        .into_inner()
        .map_err(|error| error.into_error().into())
}
