# The image of the simulated HSS, for the chart's simulator.enabled. It is built as hssgate's is (see ../../Dockerfile), and
# without Docker by `make image NAME=hss-simulator`.
FROM --platform=$BUILDPLATFORM golang:1.26.8@sha256:6c2a5538f964f1c82f97ad14988bf05de100d922d159d0e398b54c7b0ca0c6c9 AS build
WORKDIR /src
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=v0.0.0
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    export GOOS=${TARGETOS} GOARCH=${TARGETARCH} && make simulator VERSION=${VERSION} && hack/licenses.sh ./cmd/hss-simulator > bin/LICENSES.txt

FROM scratch
LABEL org.opencontainers.image.title="hss-simulator" \
      org.opencontainers.image.description="A simulated Huawei Cloud HSS, for tests of hssgate" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /src/bin/LICENSES.txt /licenses/
COPY --from=build /src/bin/hss-simulator /hss-simulator
USER 65532:65532
ENTRYPOINT ["/hss-simulator"]
