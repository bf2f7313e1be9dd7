FROM python:3.11.15-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /build
# Everything that is fetched is fetched here, with the hashes of constraints.txt and before the code is copied. What
# builds has an environment of its own, and does not reach the image.
COPY constraints.txt ./
COPY tools/lock.py tools/
RUN python tools/lock.py build >/tmp/build.txt && python tools/lock.py console oidc rocksdb triggers uvloop >/tmp/run.txt \
    && python -m venv /opt/build && /opt/build/bin/pip install --require-hashes --no-deps --requirement /tmp/build.txt \
    && python -m venv /opt/referral-stream \
    && /opt/referral-stream/bin/pip install --require-hashes --no-deps --requirement /tmp/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY referral_stream referral_stream
COPY faust-batches/src faust-batches/src
RUN /opt/build/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /tmp/whole . \
    && /opt/referral-stream/bin/pip install --no-index --no-deps /tmp/whole/*.whl

FROM python:3.11.15-slim-bookworm
LABEL org.opencontainers.image.title="referral-stream" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --system --gid 10001 referral \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin referral \
    && install --directory --owner 10001 --group 10001 /var/lib/referral-stream
COPY docker/healthcheck.py /usr/local/lib/referral-stream/
COPY --from=build /opt/referral-stream /opt/referral-stream
ENV PATH=/opt/referral-stream/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    REFERRAL_STREAM_STATUS_HOST=0.0.0.0 \
    REFERRAL_STREAM_HTTP_HOST=0.0.0.0 \
    REFERRAL_STREAM_STORE=rocksdb \
    REFERRAL_STREAM_DATA_DIR=/var/lib/referral-stream
USER 10001:10001
VOLUME /var/lib/referral-stream
# 6066: a worker's /live, /ready and /metrics. 8080: the webhook receiver.
EXPOSE 6066 8080
ENTRYPOINT ["referral-stream"]
CMD ["run"]
HEALTHCHECK --start-period=30s --interval=30s --timeout=10s --retries=3 \
    CMD ["python", "/usr/local/lib/referral-stream/healthcheck.py"]
