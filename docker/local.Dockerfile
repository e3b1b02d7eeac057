# The server's image out of a folder that holds a built one, as docker/image makes it. The
# Dockerfile in the root builds the server first; the image is the same (a test compares them).
FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends libjansson4 libmicrohttpd12 libmimalloc2.0 libnettle8 libsqlite3-0 \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -m 700 -o 65534 -g 65534 /var/lib/faasm
COPY . /
USER 65534:65534
EXPOSE 8080
# Listens on more than loopback, which the server refuses to do unless --insecure follows: there is
# no authentication yet. See docs/containers.md.
ENTRYPOINT ["faasm", "serve", "--listen", "0.0.0.0:8080", "--data", "/var/lib/faasm", \
            "--samples", "/usr/local/share/faasm/samples"]
