# The upload relay, for Fargate (infra/relay.py). Build with the repository as context:
#   docker build -t berth-relay .
# The base is named by minor version, so that a rebuild takes its security fixes; pin a digest where that must not be.
FROM python:3.13-slim-bookworm

RUN useradd --system --uid 10001 --no-create-home relay
WORKDIR /srv/berth

COPY requirements-relay.txt ./
RUN pip install --no-cache-dir --no-compile --only-binary :all: --require-hashes -r requirements-relay.txt

COPY chalicelib ./chalicelib
RUN python -m compileall -q chalicelib

USER relay
EXPOSE 8080
STOPSIGNAL SIGTERM
# The balancer ends TLS and tells the scheme. A connection is kept longer than the balancer keeps it idle, or it would use
# one that is just being closed, and answer 502. Uploads that are under way get their time when a task is replaced.
CMD ["python", "-m", "uvicorn", "chalicelib.v2.relay:app", "--host", "0.0.0.0", "--port", "8080", \
     "--http", "chalicelib.v2.relay.protocol:BoundedHeads", "--proxy-headers", "--forwarded-allow-ips", "*", "--no-access-log", "--no-server-header", \
     "--timeout-keep-alive", "310", "--timeout-graceful-shutdown", "110"]
