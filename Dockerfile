# The command `tracker-storage`, which serves: `docker build -t tracker-storage .`
FROM docker.io/library/rust:1-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked -p tracker-storage-cli && \
    install -s target/release/tracker-storage /usr/local/bin/

FROM docker.io/library/debian:bookworm-slim
RUN apt-get update && \
    apt-get install --yes --no-install-recommends ca-certificates && \
    rm -rf /var/lib/apt/lists/*
COPY --from=build /usr/local/bin/tracker-storage /usr/local/bin/
USER nobody
EXPOSE 6969/tcp 6969/udp 6880/tcp
ENTRYPOINT ["tracker-storage"]
# Within a container every address of it; what is published decides who can reach it.
CMD ["serve", "--http", "0.0.0.0:6969", "--udp", "0.0.0.0:6969", "--admin", "0.0.0.0:6880"]
