"""What may be spent is set beforehand: it is reserved before a model is asked, or none is asked."""

from miniagent_redis import (
    AgentConfig,
    Budget,
    BudgetExceeded,
    Price,
    RedisConfig,
    SessionAgent,
    SessionManager,
)

config = AgentConfig(
    model="demo",
    max_tokens=50,  # of an answer: so much is reserved for it
    budgets=[
        Budget(per="session", tokens=800),
        Budget(per="user", cost=5.0, every="month"),
        Budget(per="namespace", cost=100.0, every="day"),
    ],
    prices={"demo": Price(input=2.5, output=10.0)},  # USD for a million tokens
)
with SessionAgent(config, redis_config=RedisConfig.from_env()) as agent:
    manager = SessionManager(agent)
    session_id = manager.create_or_resume_session(user_id="ada")
    for number in range(20):
        try:
            result = manager.run(session_id, f"That is remark number {number}.")
        except BudgetExceeded as error:
            print(f"remark {number}: {error}")
            break
        print(f"remark {number}: {result.usage.total_tokens} tokens, {result.cost:.6f} USD")
    spent = manager.usage(session_id=session_id)
    assert spent.total_tokens <= 800
    print(f"{spent.turns} turns took {spent.total_tokens} tokens; no model was asked for the last")
