# The image of the simulated HSS, for `make image NAME=hss-simulator`.
FROM scratch
COPY --from=build /LICENSES.txt /licenses/
COPY --from=build /hss-simulator /hss-simulator
USER 65532:65532
ENTRYPOINT ["/hss-simulator"]
