# The image that deploy/kubernetes runs: brindle, and the programs that it runs, with nothing else
# around them. `make image` builds it; for another processor, say --platform to docker or podman.
#
# Pin the images that it is made from by digest for a release:
#   --build-arg RUST_IMAGE=rust@sha256:... --build-arg DEBIAN_IMAGE=debian@sha256:...
ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG DEBIAN_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY bgp bgp
COPY config config
COPY policy policy
COPY src src
# Built into the program.
COPY deploy/kubernetes/base/rbac.yaml deploy/kubernetes/base/rbac.yaml
# Not built, but cargo wants to see every member of the workspace.
COPY integration-tests integration-tests
ARG REVISION=""
# Static: the same file is the CNI plug-in, which runs on hosts with any libc or none. --target keeps
# the flag away from what runs while building.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target,sharing=private \
    host="$(rustc -vV | sed -n 's/^host: //p')" \
    && BRINDLE_REVISION="$REVISION" RUSTFLAGS="-C target-feature=+crt-static" \
       cargo build --locked --profile dist --bin brindle --target "$host" \
    && install -D "target/$host/dist/brindle" /out/brindle

FROM ${DEBIAN_IMAGE} AS programs
RUN apt-get update \
    && apt-get install -y --no-install-recommends iptables ipset conntrack
COPY deploy/image/rootfs /usr/local/bin/rootfs
COPY --from=build /out/brindle /out/brindle
RUN rootfs /rootfs /out/brindle

FROM scratch
COPY --from=programs /rootfs/ /
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="brindle" \
      org.opencontainers.image.description="A plain layer-3 network for clusters: BGP routes and network policies" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/usr/sbin:/usr/bin
ENTRYPOINT ["/usr/bin/brindle"]
CMD ["agent"]
