# The server's image, from the sources and with nothing of the host. docker-compose builds it where
# it is missing; docker/image makes the same out of a build on the host.
#
# The first build takes about 10 minutes on 2 cores, most of them for the engine. That has a layer
# of its own, and is not built again when other sources change.
ARG RUST_IMAGE=rust:1.95-bookworm
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
        gcc libc6-dev cmake ninja-build pkg-config libmicrohttpd-dev libjansson-dev libmimalloc-dev nettle-dev \
        libsqlite3-dev \
        clang-22 lld-22 wasi-libc libclang-rt-22-dev-wasm32 \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /faasm
ENV FAASM_CACHE=/var/cache/faasm

COPY script/engine script/engine
COPY src/engine/wasmtime src/engine/wasmtime
RUN script/engine

COPY CMakeLists.txt CMakePresets.json VERSION ./
COPY script/samples script/samples
COPY include include
COPY func func
COPY man man
COPY completions completions
COPY sdk sdk
COPY src src
RUN cmake --preset release -DBUILD_TESTING=OFF \
 && cmake --build --preset release \
 && script/samples \
 && cmake --install build/release --strip --prefix /out/usr/local

FROM ${BASE_IMAGE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends libjansson4 libmicrohttpd12 libmimalloc2.0 libnettle8 libsqlite3-0 \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -m 700 -o 65534 -g 65534 /var/lib/faasm
COPY --from=build /out/ /
USER 65534:65534
EXPOSE 8080
# Listens on more than loopback, which the server refuses to do unless --insecure follows: there is
# no authentication yet. See docs/containers.md.
ENTRYPOINT ["faasm", "serve", "--listen", "0.0.0.0:8080", "--data", "/var/lib/faasm", \
            "--samples", "/usr/local/share/faasm/samples"]
