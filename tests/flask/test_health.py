"""What a load balancer asks: whether a process lives, and whether it can serve."""

from __future__ import annotations

from flask import Flask

from miniagent_redis.flask import MiniAgent
from tests.support.servers import RedisServer


def app_at(redis_url: str) -> Flask:
    extension = MiniAgent(model="demo")
    app = Flask(__name__)
    app.config["REDIS_URL"] = redis_url
    extension.init_app(app)
    app.register_blueprint(extension.health_routes(), url_prefix="/health")
    return app


def test_it_is_ready_while_redis_answers() -> None:
    with RedisServer() as server:
        app = app_at(server.url)
        client = app.test_client()
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json) == (200, {"ready": True, "store": "healthy"})
        assert ready.headers["Cache-Control"] == "no-store"
        server.kill()
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json) == (503, {"ready": False, "store": "down"})
        assert client.get("/health/live").status_code == 200
        server.start()
        assert client.get("/health/ready").status_code == 200


def test_one_that_never_reached_redis_lives_and_is_not_ready() -> None:
    client = app_at("redis://127.0.0.1:1").test_client()
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/ready").status_code == 503
