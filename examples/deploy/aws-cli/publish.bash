# shellcheck shell=bash
# The functions that publish-image, publish-zip and publish-layer share. bench/aws/measure sources this file too.

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
# The arguments before `--` that are not options, and all arguments after it.
operands=()
rest=()
# The options of create-function, those of update-function-code, and those of both create-function
# and update-function-configuration.
creation=()
code=()
configuration=()

# Reads the command line: the value of `--name` goes to the variable `name`.
read_options() { # <names of options with a value, a space around each> <arguments...>
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
        # This option may be there more than once.
        if [[ $1 == --layer ]]; then layers+=("$2"); else printf -v "${1#--}" '%s' "$2"; fi
        shift
        ;;
      *) operands+=("$1") ;;
    esac
    shift
  done
}

# Sets the region, and makes a temporary folder.
prepare() {
  AWS_REGION=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
  [[ $AWS_REGION ]] || die 'no region: set AWS_REGION'
  # Version 1 of the AWS CLI reads only the second name.
  export AWS_REGION AWS_DEFAULT_REGION=$AWS_REGION AWS_PAGER=
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
}

# Asks AWS for something that may be missing. Status 0, with the answer in `found`, if it is there; 1 if
# it is missing. Any other error ends the program.
look_up() { # <error code if it is missing> <arguments of aws...>
  if found=$(aws "${@:2}" --output text 2>"$work/errors"); then return; fi
  grep -qF "($1)" "$work/errors" || die "$(<"$work/errors")"
  return 1
}

# Sets `role` to the ARN of a role that Lambda may assume for the function, and that may write logs.
ensure_role() { # <name>
  local trust=${BASH_SOURCE[0]%/*}/../iam/trust-policy.json
  if look_up NoSuchEntity iam get-role --role-name "$1" --query Role.Arn; then
    role=$found
  else
    say "creating the role $1"
    role=$(aws iam create-role --role-name "$1" --assume-role-policy-document "file://$trust" \
      --query Role.Arn --output text)
  fi
  # `aws`, or for example `aws-cn`: the role's own.
  local partition=${role#arn:}
  aws iam attach-role-policy --role-name "$1" \
    --policy-arn "arn:${partition%%:*}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
}

# Builds an image, and pushes it to the host `registry`, or if that is empty to AWS's. Sets `uri` to the
# image, by its digest.
push_image() { # <repository> <folder> <options of docker build...>
  if [[ ! $registry ]]; then
    local account
    account=$(aws sts get-caller-identity --query Account --output text)
    registry=$account.dkr.ecr.$AWS_REGION.amazonaws.com
  fi
  # The name of a repository may have no capitals.
  local repository=${1,,}
  local image=$registry/$repository platform=linux/amd64
  if [[ $arch == arm64 ]]; then platform=linux/arm64; fi
  # Lambda accepts one image, but no index of an image and its attestations.
  export BUILDX_NO_DEFAULT_ATTESTATIONS=1
  docker build --platform "$platform" --tag "$image" "${@:3}" "$2" >&2

  if ! look_up RepositoryNotFoundException ecr describe-repositories --repository-names "$repository"; then
    say "creating the repository $repository"
    aws ecr create-repository --repository-name "$repository" >/dev/null
  fi
  aws ecr get-login-password | docker login --username AWS --password-stdin "$registry" >&2
  docker push "$image" >&2

  # A digest names these bytes; a tag may name others later.
  # shellcheck disable=SC2034 # for the script that sources this
  uri=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$image" |
    grep -F "$image@" | tail -n 1)
}

# A new role is known everywhere only after some seconds.
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

# Creates the function, or gives it new code. Prints its ARN.
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
    say "creating the function $name"
    create_function --function-name "$name" --role "$role" --architectures "$arch" \
      "${creation[@]}" "${configuration[@]}"
    aws lambda wait function-active-v2 --function-name "$name"
    look_up ResourceNotFoundException lambda get-function-configuration \
      --function-name "$name" --query FunctionArn
  fi
  printf '%s\n' "$found"
}
