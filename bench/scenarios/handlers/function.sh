#!/usr/bin/env bash

handler() {
  printf '%s' "Echoing request: '$1'"
}
