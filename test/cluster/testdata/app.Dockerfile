FROM scratch
COPY busybox /bin/busybox
COPY index.html /www/index.html
USER 65532:65532
ENTRYPOINT ["/bin/busybox"]
CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]
