"""Limits that all instances share, and what the turns took: tokens, money, time."""

from miniagent_redis import (
    AgentConfig,
    Price,
    RateLimit,
    RateLimited,
    RedisConfig,
    SessionAgent,
    SessionManager,
)

config = AgentConfig(
    model="demo",
    rate_limits=[
        RateLimit(per="user", window=60, requests=3),
        RateLimit(per="namespace", window=86_400, tokens=1_000_000),
    ],
    prices={"demo": Price(input=2.5, output=10.0)},  # USD for a million tokens
)
with SessionAgent(config, redis_config=RedisConfig.from_env()) as agent:
    manager = SessionManager(agent)
    session_id = manager.create_or_resume_session(user_id="ada")
    for question in ("My name is Ada.", "What is 6 * 7?", "What is my name?", "One more?"):
        try:
            result = manager.run(session_id, question)
            print(f"{result.text}  ({result.usage.total_tokens} tokens, {result.cost:.6f} USD)")
        except RateLimited as limited:
            print(f"Ada may ask again in {limited.retry_after:.0f} s")
    for name, total in (
        ("this session", manager.usage(session_id=session_id)),
        ("Ada", manager.usage(user_id="ada")),
        ("everybody", manager.usage()),
    ):
        print(f"{name}: {total.turns} turns, {total.total_tokens} tokens, {total.cost:.6f} USD")
