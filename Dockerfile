# The image of a function, as AWS's tutorial makes it, on coshell's bootstrap:
#   docker build -t my-function .
#   docker run -p 9000:8080 my-function
# With --target NAME:
#   function      the default: AWS's image, bootstrap, and examples/echo as the handler
#   runtime       the same without a handler, to be used FROM or COPY --from
#   minimal       Debian with bash and certificates, and coshell: no emulator of AWS's is needed
#   scratch-like  a static bash and coshell, and nothing else
#
# BuildKit builds what a target needs, and sets TARGETARCH. The classic builder (Docker before 23)
# sets nothing, and builds every stage down to the target: without DEBIAN those of minimal and
# scratch-like stay empty. To have them:
#   docker build --build-arg DEBIAN=debian:bookworm-slim --target minimal .
ARG TARGETARCH
ARG DEBIAN=${TARGETARCH:+debian:bookworm-slim}

# The dependencies alone first: an edit of our source does not compile them again.
FROM rust:1-slim-bookworm AS dependencies
ARG TARGETARCH
WORKDIR /build
RUN case ${TARGETARCH:-$(uname -m)} in \
    amd64 | x86_64) echo x86_64-unknown-linux-gnu ;; \
    arm64 | aarch64) echo aarch64-unknown-linux-gnu ;; \
    *) echo "cannot build coshell for $TARGETARCH: Lambda has amd64 and arm64" >&2; exit 1 ;; \
  esac >rust-target
COPY Cargo.toml Cargo.lock bootstrap.toml ./
RUN mkdir -p src/bin tests/it bench && touch tests/it/main.rs bench/hot_path.rs && echo '//! Nothing yet.' >src/lib.rs \
  && printf '//! Nothing yet.\nfn main() {}\n' | tee src/main.rs >src/bin/coshell.rs
# Relative relocations are packed: 70 KB less of bootstrap.
ENV RUSTFLAGS='-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs'
RUN cargo build --release --locked --config bootstrap.toml --no-default-features --bin bootstrap \
  --target "$(cat rust-target)"

FROM dependencies AS bootstrap
COPY src src
COPY runtime-scripts runtime-scripts
RUN touch src/lib.rs src/main.rs \
  && cargo build --release --locked --config bootstrap.toml --no-default-features --bin bootstrap \
  --target "$(cat rust-target)" \
  && cp target/*/release/bootstrap /bootstrap

FROM dependencies AS coshell
ARG DEBIAN
RUN [ -z "$DEBIAN" ] || cargo build --release --locked --no-default-features --features cli --bin coshell --target "$(cat rust-target)"
COPY src src
COPY runtime-scripts runtime-scripts
RUN mkdir -p /for-image/usr/local/bin; [ -z "$DEBIAN" ] || { touch src/lib.rs src/bin/coshell.rs \
  && cargo build --release --locked --no-default-features --features cli --bin coshell --target "$(cat rust-target)" \
  && cp target/*/release/coshell /for-image/usr/local/bin; }

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
# Without them bash asks for the user's entry in /etc/passwd, and a static one dies of that.
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
