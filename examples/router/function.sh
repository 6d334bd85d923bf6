# shellcheck shell=bash
# A small HTTP API, without jq: the handler maps method and path to functions, and they answer with JSON, a file or a redirect.
# It runs behind a function URL, API Gateway or a load balancer.

handler() {
  local method path body
  lambda_request
  case "$method $path" in
    'GET /') lambda_http_response --redirect /menu ;;
    'GET /menu') lambda_http_response --file "$LAMBDA_TASK_ROOT/menu.json" ;;
    'GET /drinks/'*) show_drink "${path#/drinks/}" ;;
    'POST /orders') take_order "$body" ;;
    *' /orders') lambda_http_response 405 'Allow: POST' --json error="$method is not allowed here" ;;
    *) lambda_http_response 404 --json error="there is no $path" ;;
  esac
}

show_drink() { # <name>
  local -A menu=()
  lambda_get --file "$LAMBDA_TASK_ROOT/menu.json" --map menu .
  if [[ ${menu[${1:-none}]-} ]]; then
    lambda_http_response --json name="$1" price:="${menu[$1]}"
  else
    lambda_http_response 404 --json error="there is no drink $1"
  fi
}

take_order() { # <body>
  local drink count
  if lambda_get --json "$1" drink .drink count '.count // 1'; then
    lambda_http_response 201 --json ordered="$drink" count:="$count"
  else
    lambda_http_response 400 --json error='expected JSON such as {"drink": "tea"}'
  fi
}
