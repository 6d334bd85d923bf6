# shellcheck shell=bash
# What publish-image, publish-zip and publish-layer share. Sourced by them, and by bench/aws/measure.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

die() {
  say "$@"
  exit 1
}

# `x86_64` or `arm64`, as Lambda spells them.
machine() {
  case $(uname -m) in
    aarch64 | arm64) printf 'arm64\n' ;;
    *) printf 'x86_64\n' ;;
  esac
}

arch=$(machine)
role=
registry=${REGISTRY-}
uri=
layers=()
# What stands in front of `--` and is no option, and what stands behind it.
words=()
rest=()
# What create-function is told, update-function-code, and both of create-function and
# update-function-configuration.
creation=()
code=()
configuration=()

# Reads the words of the command line: the value of `--name` goes to the variable `name`.
read_options() { # <names of options with a value, a space around each> <words...>
  local names=$1
  shift
  while (($#)); do
    case $1 in
      -h | --help)
        usage
        exit
        ;;
      --)
        rest=("${@:2}")
        return
        ;;
      -*)
        [[ $names == *" ${1#--} "* ]] || die "no such option: $1; see --help"
        (($# > 1)) || die "$1 needs a value"
        # An option that may be there more than once has a list.
        if [[ $1 == --layer ]]; then layers+=("$2"); else printf -v "${1#--}" '%s' "$2"; fi
        shift
        ;;
      *) words+=("$1") ;;
    esac
    shift
  done
}

# What every call of AWS needs.
prepare() {
  AWS_REGION=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
  [[ $AWS_REGION ]] || die 'no region: set AWS_REGION'
  # Version 1 of the AWS CLI reads the second name alone.
  export AWS_REGION AWS_DEFAULT_REGION=$AWS_REGION AWS_PAGER=
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
}

# Asks AWS for what may be missing. Status 0, and the answer in `found`, if it is there; 1 if it
# is missing. Whatever else goes wrong ends the program.
look_up() { # <error code of what is missing> <words for aws...>
  if found=$(aws "${@:2}" --output text 2>"$work/errors"); then return; fi
  grep -qF "($1)" "$work/errors" || die "$(<"$work/errors")"
  return 1
}

# The ARN of a role that Lambda may take for the function, and that may write logs, in `role`.
ensure_role() { # <name>
  local trust=${BASH_SOURCE[0]%/*}/../iam/trust-policy.json
  if look_up NoSuchEntity iam get-role --role-name "$1" --query Role.Arn; then
    role=$found
  else
    say "making the role $1"
    role=$(aws iam create-role --role-name "$1" --assume-role-policy-document "file://$trust" \
      --query Role.Arn --output text)
  fi
  # `aws` of the role's own ARN, or `aws-cn`.
  local partition=${role#arn:}
  aws iam attach-role-policy --role-name "$1" \
    --policy-arn "arn:${partition%%:*}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
}

# Builds an image, and pushes it to `registry`, whose host is AWS's if it is empty. The image, by its
# digest, in `uri`.
push_image() { # <repository> <folder> <options of docker build...>
  if [[ ! $registry ]]; then
    local account
    account=$(aws sts get-caller-identity --query Account --output text)
    registry=$account.dkr.ecr.$AWS_REGION.amazonaws.com
  fi
  # A repository's name has no capitals.
  local repository=${1,,}
  local image=$registry/$repository platform=linux/amd64
  if [[ $arch == arm64 ]]; then platform=linux/arm64; fi
  # Lambda takes one image, and no index of an image and of how it was built.
  export BUILDX_NO_DEFAULT_ATTESTATIONS=1
  docker build --platform "$platform" --tag "$image" "${@:3}" "$2" >&2

  if ! look_up RepositoryNotFoundException ecr describe-repositories --repository-names "$repository"; then
    say "making the repository $repository"
    aws ecr create-repository --repository-name "$repository" >/dev/null
  fi
  aws ecr get-login-password | docker login --username AWS --password-stdin "$registry" >&2
  docker push "$image" >&2

  # By its digest, which names these bytes and no later ones.
  # shellcheck disable=SC2034 # for the script that sources this
  uri=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$image" |
    grep -F "$image@" | tail -n 1)
}

# A role is known everywhere only some seconds after it was made.
create_function() { # <options...>
  local attempt
  for ((attempt = 1; ; attempt++)); do
    if aws lambda create-function "$@" >/dev/null 2>"$work/errors"; then return; fi
    if ((attempt == 15)) || ! grep -qF 'cannot be assumed by Lambda' "$work/errors"; then
      die "$(<"$work/errors")"
    fi
    sleep 2
  done
}

# Makes the function, or gives it new code. Prints its ARN.
publish_function() { # <name>, with the arrays `creation`, `code` and `configuration`
  local name=$1
  if look_up ResourceNotFoundException lambda get-function-configuration \
    --function-name "$name" --query FunctionArn; then
    say "updating the function $name"
    if ((${#configuration[@]})); then
      aws lambda update-function-configuration --function-name "$name" "${configuration[@]}" >/dev/null
      aws lambda wait function-updated-v2 --function-name "$name"
    fi
    aws lambda update-function-code --function-name "$name" --architectures "$arch" "${code[@]}" >/dev/null
    aws lambda wait function-updated-v2 --function-name "$name"
  else
    if [[ ! $role ]]; then ensure_role "coshell-$name"; fi
    say "making the function $name"
    create_function --function-name "$name" --role "$role" --architectures "$arch" \
      "${creation[@]}" "${configuration[@]}"
    aws lambda wait function-active-v2 --function-name "$name"
    look_up ResourceNotFoundException lambda get-function-configuration \
      --function-name "$name" --query FunctionArn
  fi
  printf '%s\n' "$found"
}
