# The image of the simulated HSS, for `make image NAME=hss-simulator`.
FROM gcr.io/distroless/static:nonroot
COPY --from=build /hss-simulator /hss-simulator
USER 65532:65532
ENTRYPOINT ["/hss-simulator"]
