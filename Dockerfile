# lbd as PID 1. Build it from the workspace's folder after `cargo build --release`:
#     docker build -t lbd .
# BASE needs a C library no older than the one that the binaries were built with.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
# Where in the build context the two binaries are.
ARG BIN=target/release
COPY ${BIN}/lbd ${BIN}/lbctl /usr/sbin/
# An orderly stop gives the addresses to the peer at once.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["/usr/sbin/lbctl", "status", "--json"]
ENTRYPOINT ["/usr/sbin/lbd"]
CMD ["-n", "-l", "-f", "/etc/lbd/lbd.conf"]
