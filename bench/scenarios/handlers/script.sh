#!/bin/bash
printf '%s' "Echoing request: '$1'"
