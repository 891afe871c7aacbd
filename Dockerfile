# The image holds one static file, CA certificates and licence texts, and runs as nobody. For several architectures:
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=v0.1.0 -t REGISTRY/hssgate:v0.1.0 .
#
# `--target ci` builds the image with a shell.
#
# The base image is pinned by the digest of its index, since a tag can be pushed again. For another Go version, replace both:
# `docker buildx imagetools inspect golang:VERSION` shows the digest.
FROM --platform=$BUILDPLATFORM golang:1.26.8@sha256:6c2a5538f964f1c82f97ad14988bf05de100d922d159d0e398b54c7b0ca0c6c9 AS build
WORKDIR /src
# Modules first, so that they stay cached until go.mod changes.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=v0.0.0
# The same flags as in the Makefile: the same commit and version give the same file.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    export GOOS=${TARGETOS} GOARCH=${TARGETARCH} && make build VERSION=${VERSION} && hack/licenses.sh ./cmd/hssgate > bin/LICENSES.txt

# Debian's static shell of the target's architecture. No more than its package is unpacked, so nothing is emulated.
FROM build AS shell
RUN dpkg --add-architecture ${TARGETARCH} && apt-get update && cd /tmp && apt-get download busybox-static:${TARGETARCH} \
    && dpkg -x busybox-static_*.deb . && cp $(find . -name busybox -type f -perm -u+x) /bin/busybox \
    && mkdir -p /usr/share/doc/busybox-static && cp usr/share/doc/busybox-static/copyright /usr/share/doc/busybox-static/

# The image for pipelines (`--target ci`): a shell besides, which has mkdir, cat and others built in. It runs as root, since
# pipelines mount folders that belong to root.
FROM scratch AS ci
LABEL org.opencontainers.image.title="hssgate for pipelines" \
      org.opencontainers.image.description="hssgate with a shell" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-only"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/bin/LICENSES.txt /licenses/
COPY --from=shell /usr/share/doc/busybox-static/copyright /licenses/busybox.txt
COPY --from=shell /bin/busybox /bin/sh
COPY --from=build /src/bin/hssgate /bin/hssgate
ENV PATH=/bin
CMD ["/bin/sh"]

FROM scratch
LABEL org.opencontainers.image.title="hssgate" \
      org.opencontainers.image.description="Admits or denies pods by what Huawei Cloud HSS found in their images" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/bin/LICENSES.txt /licenses/
COPY --from=build /src/bin/hssgate /hssgate
# The number, not the name: Kubernetes can check runAsNonRoot only by number.
USER 65532:65532
ENTRYPOINT ["/hssgate"]
