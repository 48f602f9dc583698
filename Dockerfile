# syntax=docker/dockerfile:1

# The one executable, built with a Rust toolchain and a C compiler, which this image brings.
FROM rust:1-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --locked --profile dist --package amends \
    && cp target/dist/amends /usr/local/bin/amends

FROM debian:bookworm-slim
# Certificates, for participants that are reached over https.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin amends \
    && install --directory --owner amends --group amends --mode 0700 /data
COPY --from=build /usr/local/bin/amends /usr/local/bin/amends
# The shop's definitions, for `amends serve --definitions`.
COPY sagas /usr/share/amends/sagas

USER 10001:10001
WORKDIR /data
# SQLite's files. A named volume that is mounted here takes over the directory's owner.
VOLUME /data
# The coordinator; the shop's participants.
EXPOSE 7070 7101 7102 7103
# There is no curl here; the executable asks for itself: `amends health --url http://127.0.0.1:7070`.
ENTRYPOINT ["amends"]
CMD ["--help"]
