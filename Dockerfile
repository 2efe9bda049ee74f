# The command `tracker-storage`, which serves: `docker build -t tracker-storage .`
#
# Other base images, for a machine that reaches no registry, and a program that is built already, in
# target/image/tracker-storage (`scripts/test-compose` uses both):
#   docker build --build-arg BUILD_IMAGE=… --build-arg BASE_IMAGE=… --build-arg PROGRAM=prebuilt .
ARG BUILD_IMAGE=docker.io/library/rust:1-slim-bookworm
ARG BASE_IMAGE=docker.io/library/debian:bookworm-slim
ARG PROGRAM=build

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked -p tracker-storage-cli && \
    install target/release/tracker-storage /usr/local/bin/

FROM scratch AS prebuilt
COPY target/image/tracker-storage /usr/local/bin/

FROM ${PROGRAM} AS program

FROM ${BASE_IMAGE}
# Certificate authorities, for TLS to the database.
RUN dpkg-query --show ca-certificates >/dev/null 2>&1 || { \
    apt-get update && \
    apt-get install --yes --no-install-recommends ca-certificates && \
    rm -rf /var/lib/apt/lists/*; }
COPY --from=program /usr/local/bin/tracker-storage /usr/local/bin/
# The user `nobody`, by number, so that Kubernetes sees that it is not root.
USER 65534:65534
EXPOSE 6969/tcp 6969/udp 6880/tcp
# It is healthy while announces succeed.
HEALTHCHECK --interval=10s --timeout=5s --start-period=40s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/6880; printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&3; grep -q ' 200 ' <&3"]
ENTRYPOINT ["tracker-storage"]
# Within a container every address of it; what is published decides who can reach it.
CMD ["serve", "--http", "0.0.0.0:6969", "--udp", "0.0.0.0:6969", "--admin", "0.0.0.0:6880"]
