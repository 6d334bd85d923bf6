# shellcheck shell=bash
# A site behind a function URL, without jq: a page with its stylesheet, script and image, and an address to which the script
# posts a name. A cookie counts the visits.

here=${BASH_SOURCE[0]%/*}

# Three parts of the event. A header or a query cannot imitate the first two, because quotes in their values are escaped.
request='"http": *\{"method": *"([A-Z]+)", *"path": *"([^"]*)"'
visits_cookie='"cookies": *\[[^]]*"visits=([0-9]{1,9})"'
# A JSON string, with its escapes. A caller's query could have a parameter `body`; that changes only the caller's own answer.
posted='"body": *"(([^"\\]|\\.)*)"'

handler() {
  local event=$1 visits=0 name=stranger
  if [[ $event =~ $visits_cookie ]]; then visits=$((10#${BASH_REMATCH[1]})); fi
  if [[ $event =~ $posted ]]; then
    # printf's %b knows the escapes of JSON, such as \n and \u2713, but leaves the backslash before a quote.
    name=${BASH_REMATCH[1]//\\\"/\"}
    printf -v name '%b' "$name"
  fi
  if [[ ! $event =~ $request ]]; then
    echo 'site: this is not an event of a function URL' >&2
    return 2
  fi
  case "${BASH_REMATCH[1]} ${BASH_REMATCH[2]}" in
    'GET /')
      visits=$((visits + 1))
      answer_with_file page.html 'text/html; charset=utf-8' --cookie "visits=$visits; Max-Age=31536000; HttpOnly"
      ;;
    'GET /style.css') answer_with_file style.css 'text/css; charset=utf-8' ;;
    'GET /script.js') answer_with_file script.js 'text/javascript; charset=utf-8' ;;
    'GET /prompt.png') answer_with_file prompt.png image/png ;;
    'POST /api')
      lambda_http_response 200 'Content-Type: text/plain; charset=utf-8'
      echo "Hello ${name:-stranger}! Visits: $visits."
      ;;
    *)
      lambda_http_response 404 'Content-Type: text/plain; charset=utf-8'
      echo 'There is no such page.'
      ;;
  esac
}

# coshell sends bytes that are not text, such as an image, as base64.
answer_with_file() { # <file> <content type> [more arguments of lambda_http_response...]
  lambda_http_response 200 "Content-Type: $2" "${@:3}"
  cat "$here/$1"
}
