# dbt, of the versions that tests/requirements.txt pins.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
FROM ${PYTHON_IMAGE}
COPY tests/requirements.txt /tmp/requirements.txt
# Constraints have no extras, so those are cut off.
RUN sed 's/\[.*\]//' /tmp/requirements.txt >/tmp/constraints.txt \
    && python3 -m venv /opt/dbt \
    && /opt/dbt/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --constraint /tmp/constraints.txt dbt-core dbt-postgres psycopg2-binary \
    && install --directory --mode=1777 /artifacts
ENV PATH=/opt/dbt/bin:$PATH HOME=/tmp
USER 65532:65532
