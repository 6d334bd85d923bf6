# shellcheck shell=bash
# Posts alarms of CloudWatch, which arrive by SNS, to a channel of Slack. Settings:
#   SLACK_PARAMETER   the parameter in the Parameter Store that has the URL of Slack's incoming webhook

: "${SLACK_PARAMETER:?is not set}"

# --unwrap: the record is the message inside the SNS record.
handler() { lambda_each --unwrap post_alarm; }

post_alarm() {
  local name state reason url text message
  lambda_get name .AlarmName state .NewStateValue reason .NewStateReason
  text="*$state*: $name"$'\n'$reason
  # Slack reads these three as markup.
  text=${text//&/'&amp;'} text=${text//</'&lt;'} text=${text//>/'&gt;'}
  lambda_json -v message text="$text"
  lambda_parameter url "$SLACK_PARAMETER"
  lambda_fetch -sS --fail --retry 2 --max-time 5 --json "$message" "$url" >/dev/null
  echo "posted $name"
}
