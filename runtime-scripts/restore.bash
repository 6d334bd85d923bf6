# shellcheck shell=bash
# Shows the state of a shell that is fully restored after each event: COSHELL_ISOLATION=restore.
#
# bash reads this file together with driver.bash. src/bootstrap/shell/state.rs reads the state. It has a pipe of its
# own, which the host reads last: bash writes each line with a call of its own, which would wake the host up.

# Forgets the invocation, and shows what the handler may have changed. This happens after the answer.
#
# The first time it shows everything. After that the host defines __driver_show and __driver_reset, which leave out
# what no function of the file can change. The nonce is also a random number to base 32. The fields, with a NUL behind
# each: the word `state`; the kept names and an empty field; those that src/driver/protocol.toml lists, such as $0 and $-;
# then what bash prints of variables and so on. The function is traced (declare -t), because others do not see DEBUG
# and RETURN traps.
# shellcheck disable=SC2154 # the driver sets its variables
__driver_show_state() { # <nonce> [first|reset]
  # bash gives COMP_WORDBREAKS its value when it is first used.
  if [[ ${2-}${COMP_WORDBREAKS:+} == first ]]; then __driver_use_control; fi
  __driver_kind=KIND_IDLE __driver_status='' __driver_details=() __driver_arguments=()
  if [[ ${2-} == reset ]]; then __driver_reset "$((32#$1))"; fi
  # GLOBIGNORE and BASH_COMPAT change options of shopt, and BASHOPTS knows only after a command that could. This one changes nothing.
  builtin shopt -u login_shell
  # bash keeps the values of these for `set` and `declare -p`, as they were when they were last read.
  [[ ${DIRSTACK[*]}${BASH_ALIASES[*]}${BASH_CMDS[*]}${GROUPS[*]}$HISTCMD ]]
  {
    builtin printf '%s\0' RECORD_STATE "${__driver_kept[@]}" '' STATE_FIELDS
    builtin declare -p
    if [[ ${2-} == first ]]; then __driver_show_first; else __driver_show; fi
  } >&STATE_FD
  builtin printf '%s\0' "$1"
}
builtin declare -ft __driver_show_state

# Resets what is cheaper to reset than to compare. The host defines it for each file.
__driver_reset() { # <random number>
  builtin :
}

# Shows what the functions of the file can change, besides variables. The host defines it for each file.
__driver_show() {
  builtin :
}

# Shows everything, besides variables.
__driver_show_first() {
  builtin umask
  builtin trap -p
  builtin alias -p
  builtin printf '\0'
  builtin enable -n
  builtin declare -F
  builtin printf '\0\0'
  builtin declare -f
  builtin printf '\0'
  # With `set +h` there is none.
  builtin hash -l 2>/dev/null
  builtin printf '\0'
  # Without readline bash has neither completions nor a history.
  {
    builtin dirs +1
    builtin complete -p
    builtin history
  } 2>/dev/null
}

builtin declare -ft __driver_show __driver_show_first
builtin readonly -f __driver_show_state __driver_show_first
