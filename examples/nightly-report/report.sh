#!/bin/bash
# Totals a day's orders by customer. Written for cron: `report.sh <orders.csv >report.txt`.
set -eu

work=$(mktemp -d "${TMPDIR:-/tmp}/report.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

# Keeps lines of the form customer,amount; logs the others.
while IFS=, read -r customer amount rest || [[ -n $customer ]]; do
  case $amount in
    '' | *[!0-9.]*) echo "skipped: $customer,$amount${rest:+,$rest}" >&2 ;;
    *) echo "$customer $amount" >>orders ;;
  esac
done

if [[ ! -s orders ]]; then
  echo "no orders" >&2
  exit 2
fi
awk '{ total[$1] += $2 } END { for (name in total) printf "%-12s %10.2f\n", name, total[name] }' orders | sort
