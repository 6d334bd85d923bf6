# shellcheck shell=bash
# The same with a function of coshell, and bash's own arithmetic.
handler() {
  local time customers cents i
  local -A sum=() seen=()
  lambda_get time .time --array customers '.detail.orders[].customer' --array cents '.detail.orders[].cents'
  for i in "${!customers[@]}"; do sum[${customers[i]}]=$((${sum[${customers[i]}]-0} + cents[i])); done
  echo "${time%%T*}"
  for i in "${customers[@]}"; do
    [[ ${seen[$i]-} ]] || echo "$i ${sum[$i]}"
    seen[$i]=1
  done
}
