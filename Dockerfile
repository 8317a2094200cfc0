# The service alone: no torch, no compiler, no shell access needed, root file system may be read-only.
# `make image` demands a digest: a tag names another image tomorrow.
ARG PYTHON_IMAGE=python:3.12-slim
FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
RUN python -m venv /opt/sonoprobe
COPY requirements ./requirements
# Only files whose SHA-256 is in the repository are installed. Byte code is made here, because a
# read-only root keeps every later start from doing it.
RUN /opt/sonoprobe/bin/pip install --no-cache-dir --compile --require-hashes \
      -r requirements/build.txt -r requirements/service.txt
COPY pyproject.toml README.md LICENSE ./
COPY service ./service
COPY training/__init__.py ./training/__init__.py
COPY clients/python/src ./clients/python/src
RUN /opt/sonoprobe/bin/pip install --compile --no-deps --no-index --no-build-isolation . \
 && /opt/sonoprobe/bin/pip uninstall --yes pip setuptools \
 && find /opt/sonoprobe -type d -name tests -prune -exec rm -rf {} +

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --no-create-home sonoprobe \
 && mkdir /data && chown sonoprobe /data
COPY --from=build /opt/sonoprobe /opt/sonoprobe
ENV PATH=/opt/sonoprobe/bin:$PATH \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SONOPROBE_HOST=0.0.0.0 \
    SONOPROBE_DATA_DIR=/data
# By number: Kubernetes cannot see whether a name is root (runAsNonRoot).
USER 10001
VOLUME /data
EXPOSE 8000
# Asks under a name that SONOPROBE_ALLOWED_HOSTS has, or it would be refused.
HEALTHCHECK --interval=15s --timeout=6s --start-period=20s \
  CMD ["python", "-c", "import http.client, os, sys; of = os.environ.get; host = (of('SONOPROBE_ALLOWED_HOSTS') or 'localhost').split(',')[0].strip().replace('*', 'health'); c = http.client.HTTPConnection('127.0.0.1', int(of('SONOPROBE_PORT') or 8000), timeout=5); c.request('GET', '/health/ready', headers={'Host': host}); sys.exit(c.getresponse().status != 200)"]
CMD ["sonoprobe", "serve"]
