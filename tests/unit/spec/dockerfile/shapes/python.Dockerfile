# syntax=docker/dockerfile:1
ARG PYTHON=3.11
FROM python:${PYTHON}-slim AS base

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_INPUT=1 \
    VIRTUAL_ENV=/venv
ENV PATH="$VIRTUAL_ENV/bin:$PATH"

FROM base AS wheels
RUN apt-get update \
 && apt-get install -y --no-install-recommends build-essential libpq-dev \
 # what is compiled stays in this stage
 && rm -rf /var/lib/apt/lists/*
COPY requirements.txt /tmp/
RUN python -m venv "$VIRTUAL_ENV" && pip install -r /tmp/requirements.txt

FROM base AS app
RUN --mount=type=cache,target=/root/.cache/pip,sharing=locked \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    pip install --upgrade pip
COPY --from=wheels /venv /venv
WORKDIR /app
COPY --chown=1000:1000 --exclude=**/*.pyc . .
RUN ["python", "-m", "compileall", "-q", "/app"]
USER 1000
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s CMD ["python", "-m", "app.health"]
CMD ["gunicorn", "--bind", "0.0.0.0:8000", "app.wsgi"]
