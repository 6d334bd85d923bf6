# shellcheck shell=bash
# A site behind a function URL, in bash alone: a page with its stylesheet, script and image, and an address that
# the script posts to. A cookie counts the visits. All files are read once per sandbox, outside of the handler.

# Sets `quoted` to a text as it stands in a string of JSON. Other control characters are in no file here.
quote() { # <text>
  quoted=${1//\\/\\\\}
  quoted=${quoted//\"/\\\"}
  quoted=${quoted//$'\t'/\\t}
  quoted=${quoted//$'\n'/\\n}
}

here=${BASH_SOURCE[0]%/*}
quote "$(<"$here/page.html")" && page=$quoted
quote "$(<"$here/style.css")" && style=$quoted
quote "$(<"$here/script.js")" && script=$quoted
image=$(base64 -w 0 "$here/prompt.png")

# Parts of the event. Neither a header nor the query can look like the first two: their values are strings.
request='"http": *\{"method": *"([A-Z]+)", *"path": *"([^"]*)"'
visit='"cookies": *\[[^]]*"visits=([0-9]{1,9})"'
# A string of JSON, with its escapes. A query with a `body` could stand in for it, for who sends such a query.
body='"body": *"(([^"\\]|\\.)*)"'

answer() { # <status> <type> <body, quoted> [more members of the answer]
  printf '{"statusCode":%s,"headers":{"content-type":"%s"},"body":"%s"%s}' "$1" "$2" "$3" "${4-}"
}

handler() {
  local event=$1 visits=0 name=
  [[ $event =~ $visit ]] && visits=${BASH_REMATCH[1]}
  [[ $event =~ $body ]] && name=${BASH_REMATCH[1]}
  [[ $event =~ $request ]] || return 2
  case "${BASH_REMATCH[1]} ${BASH_REMATCH[2]}" in
    'GET /')
      visits=$((10#$visits + 1))
      answer 200 'text/html; charset=utf-8' "$page" ",\"cookies\":[\"visits=$visits; Max-Age=31536000; HttpOnly\"]"
      ;;
    'GET /style.css') answer 200 'text/css; charset=utf-8' "$style" ;;
    'GET /script.js') answer 200 'text/javascript; charset=utf-8' "$script" ;;
    'GET /prompt.png') answer 200 image/png "$image" ',"isBase64Encoded":true' ;;
    # What came as a string of JSON goes out as one, its escapes untouched.
    'POST /api') answer 200 'text/plain; charset=utf-8' "Hello ${name:-stranger}! Visits: $visits." ;;
    *) answer 404 'text/plain; charset=utf-8' 'There is no such page.' ;;
  esac
}
