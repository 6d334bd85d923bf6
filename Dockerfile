# An image of a function, as AWS's tutorial makes it, with coshell's bootstrap:
#   docker build -t my-function .
#   docker run -p 9000:8080 my-function
# With --target NAME:
#   function      the default: AWS's image, bootstrap, and examples/echo as the handler
#   runtime       the same without a handler, for FROM or COPY --from
#   minimal       Debian with bash, certificates and coshell; it needs no emulator of AWS's
#   scratch-like  a static bash and coshell, and nothing else
#
# BuildKit builds only the stages that a target needs, and sets TARGETARCH. The classic builder (Docker
# before 23) does not set it, and builds every stage down to the target: without DEBIAN, the stages of
# minimal and scratch-like stay empty. This builds them:
#   docker build --build-arg DEBIAN=debian:bookworm-slim --target minimal .
ARG TARGETARCH
ARG DEBIAN=${TARGETARCH:+debian:bookworm-slim}

# Only the dependencies: an edit of our source does not compile them again.
FROM rust:1-slim-bookworm AS dependencies
ARG TARGETARCH
WORKDIR /build
RUN case ${TARGETARCH:-$(uname -m)} in \
    amd64 | x86_64) echo x86_64-unknown-linux-gnu ;; \
    arm64 | aarch64) echo aarch64-unknown-linux-gnu ;; \
    *) echo "cannot build coshell for $TARGETARCH: Lambda has amd64 and arm64" >&2; exit 1 ;; \
  esac >rust-target
COPY Cargo.toml Cargo.lock ./
COPY src/bootstrap/Cargo.toml src/bootstrap/
COPY src/calls/Cargo.toml src/calls/
COPY src/check/Cargo.toml src/check/
COPY src/compare/Cargo.toml src/compare/
COPY src/emulator/Cargo.toml src/emulator/
COPY src/handler/Cargo.toml src/handler/
COPY src/package/Cargo.toml src/package/
COPY src/process/Cargo.toml src/process/
COPY src/statistics/Cargo.toml src/statistics/
COPY src/wire/Cargo.toml src/wire/
COPY tests/Cargo.toml tests/
COPY tests/fixtures/rust-runtime/Cargo.toml tests/fixtures/rust-runtime/
RUN for crate in src/*/; do touch "$crate/lib.rs"; done; mkdir -p src/cli tests/support tests/fixtures/rust-runtime/src \
  && touch tests/support/lib.rs && echo 'fn main() {}' \
  | tee src/bootstrap/main.rs src/cli/main.rs >tests/fixtures/rust-runtime/src/main.rs
# Packs relative relocations, which saves 70 KB of bootstrap.
ENV RUSTFLAGS='-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs'
# Inlines little, and leaves out the index for unwinding: a panic aborts, so nothing uses it. Saves 50 KB.
ENV SMALL='-C llvm-args=--inline-threshold=15 -C link-arg=-Wl,--no-eh-frame-hdr'
RUN RUSTFLAGS="$RUSTFLAGS $SMALL" cargo build --profile bootstrap --locked -p coshell-bootstrap --target "$(cat rust-target)"

FROM dependencies AS bootstrap
COPY src src
COPY runtime-scripts runtime-scripts
RUN touch src/*/lib.rs src/bootstrap/main.rs \
  && RUSTFLAGS="$RUSTFLAGS $SMALL" cargo build --profile bootstrap --locked -p coshell-bootstrap --target "$(cat rust-target)" \
  && cp target/*/bootstrap/bootstrap /bootstrap && src/bootstrap/shrink /bootstrap

FROM dependencies AS coshell
ARG DEBIAN
RUN [ -z "$DEBIAN" ] || cargo build --profile dist --locked --no-default-features -p coshell --target "$(cat rust-target)"
COPY src src
COPY runtime-scripts runtime-scripts
RUN mkdir -p /for-image/usr/local/bin; [ -z "$DEBIAN" ] || { touch src/*/lib.rs src/cli/main.rs \
  && cargo build --profile dist --locked --no-default-features -p coshell --target "$(cat rust-target)" \
  && cp target/*/dist/coshell /for-image/usr/local/bin; }

FROM ${DEBIAN:-dependencies} AS static-bash
ARG DEBIAN
RUN mkdir -p /for-image/bin /for-image/tmp; chmod 1777 /for-image/tmp; [ -z "$DEBIAN" ] || { \
  apt-get -qq update \
  && apt-get -qq install -y --no-install-recommends bash-static \
  && cp /bin/bash-static /for-image/bin/bash; }

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

FROM ${DEBIAN:-scratch} AS minimal
COPY --from=dependencies /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=coshell /for-image /
COPY examples/echo/function.sh /var/task/function.sh
WORKDIR /var/task
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/coshell", "entrypoint"]
CMD ["function.sh.handler"]

FROM public.ecr.aws/lambda/provided:al2023 AS runtime
COPY --from=bootstrap /bootstrap /var/runtime/bootstrap

FROM runtime AS function
COPY examples/echo/function.sh /var/task/function.sh
CMD ["function.sh.handler"]
