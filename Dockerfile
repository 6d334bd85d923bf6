# Builds bootstrap, lays out the function image:
#   docker build -t my-function .
#   docker run -p 9000:8080 my-function

FROM rust:1-slim-bookworm AS build
WORKDIR /build
# The dependencies alone first: an edit of our source does not compile them again.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src/bin && touch src/lib.rs && echo 'fn main() {}' | tee src/main.rs >src/bin/coshell.rs \
  && mkdir -p tests/it && touch tests/it/main.rs
ENV RUSTFLAGS='-C target-feature=+crt-static'
RUN cargo build --release --locked --no-default-features --bin bootstrap \
  --target "$(rustc --print host-tuple)"
COPY src src
COPY runtime-scripts runtime-scripts
RUN touch src/lib.rs src/main.rs \
  && cargo build --release --locked --no-default-features --bin bootstrap \
  --target "$(rustc --print host-tuple)" \
  && cp target/*/release/bootstrap /bootstrap

FROM public.ecr.aws/lambda/provided:al2023
COPY --from=build /bootstrap /var/runtime/bootstrap
COPY examples/echo/function.sh /var/task/function.sh
CMD ["function.sh.handler"]
