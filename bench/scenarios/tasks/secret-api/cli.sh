# shellcheck shell=bash
# A request to an API whose token is a secret.
handler() {
  local event=$1 id token answer
  id=$(jq -r .id <<<"$event")
  token=$(aws secretsmanager get-secret-value --secret-id api --query SecretString --output text | jq -r .token)
  answer=$(curl -sS --fail -H "Authorization: Bearer $token" "$API_URL/items/$id")
  jq -rj .name <<<"$answer"
}
