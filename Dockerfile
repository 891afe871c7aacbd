# syntax=docker/dockerfile:1
# The image holds one static file and runs as nobody. For several architectures:
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=v0.1.0 -t REGISTRY/hssgate:v0.1.0 .
#
# Base images are pinned by tag; whoever releases should pin them by digest too (`FROM golang:1.26@sha256:…`), as
# `docker buildx imagetools inspect` shows it, since a tag can be pushed again.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
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
    GOOS=${TARGETOS} GOARCH=${TARGETARCH} make build VERSION=${VERSION}

FROM gcr.io/distroless/static:nonroot
LABEL org.opencontainers.image.title="hssgate" \
      org.opencontainers.image.description="Admits or denies pods by what Huawei Cloud HSS found in their images" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /src/bin/hssgate /hssgate
# The number, not the name: Kubernetes can check runAsNonRoot only by number.
USER 65532:65532
ENTRYPOINT ["/hssgate"]
