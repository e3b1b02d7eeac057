# The compiler of functions: sdk/c in /toolchain, with LLVM 22. docker/toolchain-image builds it.
# No binaryen here: clang would run whatever wasm-opt it finds over the modules.
FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
        clang-22 lld-22 wasi-libc libclang-rt-22-dev-wasm32 libc++-22-dev-wasm32 \
        libc++abi-22-dev-wasm32 make \
 && rm -rf /var/lib/apt/lists/*
COPY include/faasm /tmp/faasm/include/faasm
COPY sdk/c /tmp/faasm/sdk/c
RUN /tmp/faasm/sdk/c/install /toolchain && rm -r /tmp/faasm
ENV PATH=/toolchain/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
WORKDIR /work
CMD ["bash"]
