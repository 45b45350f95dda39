"""A job queue that delivers at least once: the id of a job names its turn, so it is done once."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager, ToolRegistry
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta, ToolCall

JOBS = {f"order-{number}": f"Send {number} apples!" for number in range(1, 6)}

sent = Counter[int]()
tools = ToolRegistry()


@tools.tool
def send(apples: int) -> str:
    """Send apples: not twice, please."""
    sent[apples] += 1
    return "sent"


class Clerk:
    """A model that calls the tool and says that it is done."""

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        last = request.messages[-1]
        if last.role == "user":
            yield ToolCall("c1", "send", {"apples": int(last.text.split()[1])})
            yield Finish("tool_calls")
        else:
            yield TextDelta("They are on their way.")
            yield Finish()


def deliver(manager: SessionManager, session_id: str, job: str) -> str:
    """Do a job, however often it is delivered, and to whichever worker."""
    return manager.run(session_id, JOBS[job], turn_id=job).turn_id


config = RedisConfig.from_env()
with (
    SessionAgent(AgentConfig(model=Clerk()), tools, redis_config=config) as one,
    SessionAgent(AgentConfig(model=Clerk()), tools, redis_config=config) as other,
    ThreadPoolExecutor() as pool,
):
    workers = [SessionManager(one), SessionManager(other)]
    session_id = workers[0].create_or_resume_session(user_id="shop")
    deliveries = [(worker, session_id, job) for job in JOBS for worker in workers]
    done = Counter(pool.map(lambda delivery: deliver(*delivery), deliveries))
    print("delivered", dict(done))
    print("sent", dict(sent))
    assert set(done.values()) == {2}
    assert set(sent.values()) == {1}
    assert workers[0].store.session_state(session_id).turns == len(JOBS)
