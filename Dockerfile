# An image that serves agents, and runs the examples: docker-compose.yml has the rest.
FROM python:3.13-slim
ARG EXTRAS=fast,openai,serve
RUN useradd --create-home agent
WORKDIR /srv
COPY LICENSE README.md pyproject.toml setup.cfg ./
COPY miniagent_redis miniagent_redis
RUN pip install --no-cache-dir ".[${EXTRAS}]" gunicorn && rm -rf build *.egg-info
COPY examples examples
USER agent
EXPOSE 8081
CMD ["miniagent-redis", "serve", "--host", "0.0.0.0", "--port", "8081"]
