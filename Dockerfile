# An image of a function, as AWS's tutorial makes it, with coshell's bootstrap:
#   docker build -t my-function .
#   docker run -p 9000:8080 my-function
# With --target NAME:
#   function      the default: AWS's image, bootstrap with coshell-tools, and examples/echo as the handler
#   runtime       the same without a handler, for FROM or COPY --from
#   minimal       Debian with bash, certificates and coshell; it needs no emulator of AWS's
#   scratch-like  a static bash and coshell, and nothing else
#
# BuildKit and Docker's classic builder, which `docker build` uses before version 23, can build every target. BuildKit
# builds only the stages that a target needs. The classic builder builds every stage above the target, and without
# --target all of them: --target function saves it the small images.
#
# --build-arg DEBIAN=IMAGE bases the small images on another Debian or Ubuntu.
ARG DEBIAN=debian:bookworm-slim

FROM rust:1-slim-bookworm AS sources
ARG TARGETARCH
WORKDIR /build
RUN case ${TARGETARCH:-$(uname -m)} in \
    amd64 | x86_64) echo x86_64-unknown-linux-gnu ;; \
    arm64 | aarch64) echo aarch64-unknown-linux-gnu ;; \
    *) echo "cannot build coshell for $TARGETARCH: Lambda has amd64 and arm64" >&2; exit 1 ;; \
  esac >rust-target
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY runtime-scripts runtime-scripts
# The workspace names them.
COPY tests tests

FROM sources AS bootstrap
RUN for program in bootstrap tools; do src/bootstrap/build "$(cat rust-target)" target $program || exit; done \
  && cp target/*/bootstrap/bootstrap target/*/bootstrap/coshell-tools /

FROM public.ecr.aws/lambda/provided:al2023 AS runtime
COPY --from=bootstrap /bootstrap /coshell-tools /var/runtime/

FROM runtime AS function
COPY examples/echo/function.sh /var/task/function.sh
CMD ["function.sh.handler"]

FROM sources AS coshell
RUN RUSTFLAGS='-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs' \
  cargo build --profile dist --locked --no-default-features -p coshell --target "$(cat rust-target)" \
  && mkdir -p /for-image/usr/local/bin && cp target/*/dist/coshell /for-image/usr/local/bin

FROM ${DEBIAN} AS minimal
COPY --from=sources /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=coshell /for-image /
COPY examples/echo/function.sh /var/task/function.sh
WORKDIR /var/task
ARG DEBIAN
# Sends one event: without a bash that is new enough, no function could run in this image.
RUN coshell invoke function.sh.handler --event 'one event for the new image' || { \
  echo "cannot build minimal on $DEBIAN: it needs bash 4.2 or later; name another image by --build-arg DEBIAN=IMAGE" >&2; exit 1; }
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/coshell", "entrypoint"]
CMD ["function.sh.handler"]

FROM ${DEBIAN} AS static-bash
RUN if ! command -v apt-get >/dev/null; then \
    echo 'cannot build scratch-like: the image that DEBIAN names has no apt-get; name a Debian or an Ubuntu' >&2; exit 1; \
  fi \
  && apt-get -qq update \
  && apt-get -qq install -y --no-install-recommends bash-static \
  && mkdir -p /for-image/bin /for-image/tmp && chmod 1777 /for-image/tmp \
  && cp /bin/bash-static /for-image/bin/bash

FROM scratch AS scratch-like
COPY --from=static-bash /for-image /
COPY --from=coshell /for-image /
COPY examples/echo/function.sh /var/task/function.sh
# Without these, bash looks up the user in /etc/passwd, and a static bash crashes there.
ENV HOME=/tmp SHELL=/bin/bash
WORKDIR /var/task
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/coshell", "entrypoint"]
CMD ["function.sh.handler"]

# The target without --target.
FROM function AS default
