FROM python:3.11.14-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /build
RUN python -m venv /opt/referral-stream
# The product is copied last, and built of what was fetched before it: a change of code fetches nothing.
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY referral_stream/__init__.py referral_stream/
RUN /opt/referral-stream/bin/pip install --constraint constraints.txt '.[rocksdb,triggers,uvloop]'
COPY referral_stream referral_stream
COPY faust-batches/src faust-batches/src
RUN /opt/referral-stream/bin/pip install --no-deps --force-reinstall .

FROM python:3.11.14-slim-bookworm
LABEL org.opencontainers.image.title="referral-stream" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --system --gid 10001 referral \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin referral \
    && install --directory --owner 10001 --group 10001 /var/lib/referral-stream
COPY --from=build /opt/referral-stream /opt/referral-stream
ENV PATH=/opt/referral-stream/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    REFERRAL_STREAM_STATUS_HOST=0.0.0.0 \
    REFERRAL_STREAM_STORE=rocksdb \
    REFERRAL_STREAM_DATA_DIR=/var/lib/referral-stream
USER 10001:10001
VOLUME /var/lib/referral-stream
EXPOSE 6066
ENTRYPOINT ["referral-stream"]
CMD ["run"]
HEALTHCHECK --start-period=30s --interval=30s --timeout=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:6066/live', timeout=5)"]
