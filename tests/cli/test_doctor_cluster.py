"""What the doctor says of a cluster: of each master, and of the slots between them."""

from __future__ import annotations

import shlex

from miniagent_redis import RedisConfig, RedisSessionManager
from miniagent_redis.doctor import Check, diagnose, rights
from miniagent_redis.doctor import cluster as checked
from tests.support.cluster import ClusterServers
from tests.support.doctor_checks import examine
from tests.support.waiting import until

FINE = {
    "cluster_state": "ok",
    "cluster_slots_assigned": "16384",
    "cluster_slots_ok": "16384",
    "cluster_known_nodes": "6",
}


def test_a_cluster_in_order_is_fit(cluster: ClusterServers, cluster_url: str) -> None:
    for node in cluster.nodes:
        node.client.config_set("appendonly", "yes")
    checks = examine(cluster_url)
    for node in cluster.nodes:
        node.client.config_set("appendonly", "no")
    failed = {name: check for name, check in checks.items() if check.verdict in ("fail", "skip")}
    assert failed == {}
    assert checks["cluster"].detail == "3 masters of 6 nodes, all in order"
    assert checks["slots"].detail == "all 16,384 are served"
    assert checks["role"].detail.startswith("all 3 masters: primary, 1 replica")


def test_what_is_wrong_on_one_master_is_told_with_its_name(
    cluster: ClusterServers, cluster_url: str
) -> None:
    (_, odd, _) = cluster.masters
    odd.client.config_set("maxmemory-policy", "allkeys-lru")
    check = examine(cluster_url)["eviction"]
    odd.client.config_set("maxmemory-policy", "noeviction")
    assert check.verdict == "fail"
    assert check.detail.startswith(f"{odd.name}: allkeys-lru")
    assert f"-p {odd.server.port} " in check.fix


def test_a_slot_that_no_master_serves_is_told() -> None:
    with ClusterServers(1, replicas=False) as one:
        (node,) = one.masters
        assert examine(one.url)["slots"].verdict == "ok"
        node.run("CLUSTER", "DELSLOTS", 5)
        until(lambda: node.info()["cluster_state"] == "fail")
        checks = examine(one.url)
    assert checks["slots"] == Check(
        "slots", "fail", "1 of 16,384 are no master's: nothing can be stored there",
        f"redis-cli --cluster fix {node.name}",
    )  # fmt: skip
    assert checks["cluster"].verdict == "fail"
    assert checks["cluster"].detail == f"it is down, say 1 of 1 masters: {node.name}"


def test_a_master_that_is_silent_is_told() -> None:
    told = {"a:1": FINE, "b:2": {}}
    check = checked.state(told)
    assert (check.verdict, check.detail) == ("fail", "b:2 does not answer: the keys there are away")
    assert checked.slots(told).verdict == "ok"  # the others do not know yet
    check = checked.slots({"a:1": FINE | {"cluster_slots_ok": "10923"}, "b:2": {}})
    assert (check.verdict, check.detail) == ("fail", "the masters of 5,461 of 16,384 are silent")
    assert checked.state({"a:1": FINE}).verdict == "ok"
    assert checked.slots({"b:2": {}}).verdict == "skip"


def test_the_rule_that_is_told_is_enough_and_each_node_must_have_it(
    cluster: ClusterServers, cluster_url: str
) -> None:
    config = RedisConfig(url=cluster_url.replace("://", "://dora:pw@"), namespace="acme")
    words = shlex.split(rights.advice(RedisSessionManager(config)))
    rule = words[words.index("SETUSER") + 1 :]
    assert rule[0] == "dora"
    for node in cluster.nodes:
        node.run("ACL", "SETUSER", *rule, "on", ">pw")
    with RedisSessionManager(config) as store:
        checks = {check.name: check for check in diagnose(store)}
        for name in ("reachable", "cluster", "slots", "rights", "clock", "turn", "records"):
            assert checks[name].verdict == "ok", checks[name]
        (odd, *_) = cluster.masters
        odd.run("ACL", "SETUSER", "dora", "-asking")
        check = rights.rights(store)
        for node in cluster.nodes:
            node.run("ACL", "DELUSER", "dora")
    assert check.verdict == "fail"
    assert check.detail.startswith(f"{odd.name}: ")
