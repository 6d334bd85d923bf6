# shellcheck shell=bash
# What every customer has ordered in a day.
handler() {
  jq -r .time <<<"$1" | cut -dT -f1
  jq -r '.detail.orders[] | "\(.customer) \(.cents)"' <<<"$1" |
    awk '!($1 in sum) { order[++n] = $1 } { sum[$1] += $2 } END { for (i = 1; i <= n; i++) print order[i], sum[order[i]] }'
}
