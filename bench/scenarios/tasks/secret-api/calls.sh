# shellcheck shell=bash
# The same with functions of coshell.
handler() {
  # shellcheck disable=SC2034 # lambda_get reads answer
  local id token answer name
  lambda_get id .id
  lambda_secret token api --field token
  lambda_fetch -sS --fail -v answer -H "Authorization: Bearer $token" "$API_URL/items/$id"
  lambda_get name .name --in answer
  printf '%s' "$name"
}
