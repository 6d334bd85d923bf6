#!/bin/bash
# Written for cron:  0 4 * * *  /opt/jobs/purge.sh -d 30 /mnt/uploads >>/var/log/purge.log 2>&1
set -eu
usage() { echo "usage: ${0##*/} [-d DAYS] FOLDER" >&2 && exit 2; }

days=7
while getopts d: option; do
  case $option in
    d) days=$OPTARG ;;
    *) usage ;;
  esac
done
shift $((OPTIND - 1))
(($# == 1)) || usage
cd "$1"

list=$(mktemp)
trap 'rm -f "$list"' EXIT
find . -xdev -type f -mtime "+$days" -print >"$list"
while IFS= read -r file; do
  rm -f -- "$file"
  echo "removed ${file#./}" >&2
done <"$list"
echo "$(wc -l <"$list") files older than $days days removed from $PWD"
