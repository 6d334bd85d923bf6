# shellcheck shell=bash disable=SC2034
# 60 variables and 30 functions, which the shell shows after every event.
setting_1='value number 1 of the configuration'
setting_2='value number 2 of the configuration'
setting_3='value number 3 of the configuration'
setting_4='value number 4 of the configuration'
setting_5='value number 5 of the configuration'
setting_6='value number 6 of the configuration'
setting_7='value number 7 of the configuration'
setting_8='value number 8 of the configuration'
setting_9='value number 9 of the configuration'
setting_10='value number 10 of the configuration'
setting_11='value number 11 of the configuration'
setting_12='value number 12 of the configuration'
setting_13='value number 13 of the configuration'
setting_14='value number 14 of the configuration'
setting_15='value number 15 of the configuration'
setting_16='value number 16 of the configuration'
setting_17='value number 17 of the configuration'
setting_18='value number 18 of the configuration'
setting_19='value number 19 of the configuration'
setting_20='value number 20 of the configuration'
setting_21='value number 21 of the configuration'
setting_22='value number 22 of the configuration'
setting_23='value number 23 of the configuration'
setting_24='value number 24 of the configuration'
setting_25='value number 25 of the configuration'
setting_26='value number 26 of the configuration'
setting_27='value number 27 of the configuration'
setting_28='value number 28 of the configuration'
setting_29='value number 29 of the configuration'
setting_30='value number 30 of the configuration'
setting_31='value number 31 of the configuration'
setting_32='value number 32 of the configuration'
setting_33='value number 33 of the configuration'
setting_34='value number 34 of the configuration'
setting_35='value number 35 of the configuration'
setting_36='value number 36 of the configuration'
setting_37='value number 37 of the configuration'
setting_38='value number 38 of the configuration'
setting_39='value number 39 of the configuration'
setting_40='value number 40 of the configuration'
setting_41='value number 41 of the configuration'
setting_42='value number 42 of the configuration'
setting_43='value number 43 of the configuration'
setting_44='value number 44 of the configuration'
setting_45='value number 45 of the configuration'
setting_46='value number 46 of the configuration'
setting_47='value number 47 of the configuration'
setting_48='value number 48 of the configuration'
setting_49='value number 49 of the configuration'
setting_50='value number 50 of the configuration'
setting_51='value number 51 of the configuration'
setting_52='value number 52 of the configuration'
setting_53='value number 53 of the configuration'
setting_54='value number 54 of the configuration'
setting_55='value number 55 of the configuration'
setting_56='value number 56 of the configuration'
setting_57='value number 57 of the configuration'
setting_58='value number 58 of the configuration'
setting_59='value number 59 of the configuration'
setting_60='value number 60 of the configuration'
helper_1() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_2() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_3() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_4() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_5() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_6() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_7() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_8() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_9() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_10() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_11() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_12() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_13() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_14() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_15() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_16() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_17() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_18() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_19() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_20() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_21() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_22() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_23() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_24() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_25() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_26() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_27() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_28() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_29() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
helper_30() {
  local a=$1 b=${2:-x}
  if [[ $a == "$b" ]]; then
    printf "%s\n" "$a"
  else
    echo "$b" >&2
  fi
}
handler() { echo "$1"; }
