# One image for everything that a site of several processes consists of: web processes, workers, commands.
# compose.yaml says how they work together; the README has the same as plain commands.
FROM python:3.13-slim-bookworm

# What confines the tools' code, and make, which knows how everything is installed.
RUN apt-get update \
    && apt-get install -y --no-install-recommends bubblewrap libseccomp2 make \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /srv/agentsite

# What changes seldom comes first, so that a change of the code installs nothing anew.
COPY Makefile requirements.txt ./
COPY .ci .ci
RUN make .venv/installed
COPY . .
RUN make .venv-sandbox/installed && .venv/bin/python -m compileall -q agentsite chat

# Whoever runs the site can write nowhere but in var/, which all processes share: keys, files, work folders.
RUN useradd --uid 10001 --no-create-home --home-dir /srv/agentsite --shell /usr/sbin/nologin agentsite \
    && install -d -o agentsite -g agentsite var
USER agentsite
ENV PATH="/srv/agentsite/.venv/bin:$PATH" PYTHONUNBUFFERED=1
EXPOSE 8000
CMD ["python", "manage.py", "serve", "--host", "0.0.0.0", "--port", "8000"]
