"""Encrypted records: what they hide, and what is refused."""

from __future__ import annotations

import base64
import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import MiniAgentError, StoreMisconfigured
from miniagent_redis.crypto import EncryptedFormat, EncryptionKeyMissing, KeyRing
from miniagent_redis.errors import InvalidInput, SchemaTooNew
from miniagent_redis.records import frame
from miniagent_redis.records.format import JsonFormat, Where
from miniagent_redis.records.frame import Unreadable
from tests.support.keys import NEW, OLD

GOLDEN = Path(__file__).parents[1] / "golden" / "schema-1" / "encrypted.jsonl"
DATA = {"secret": "opensesame", "n": 2**70, "odd": "\ud800\0"}
HERE = Where("message", "s", "acme")
FORMAT = EncryptedFormat({"k": OLD})


def test_what_is_read_is_what_was_written() -> None:
    record = FORMAT.encode(DATA, HERE)
    assert b"opensesame" not in record
    assert FORMAT.decode(record, HERE) == DATA
    assert FORMAT.decode_many([record, record], HERE) == [DATA, DATA]


def test_a_record_is_longer_by_its_nonce_its_tag_and_the_id_of_its_key() -> None:
    added = len(FORMAT.encode(DATA, HERE)) - len(JsonFormat().encode(DATA, HERE))
    assert added == len(b"enc1:k:") + 12 + 16


def test_the_same_data_is_never_the_same_record() -> None:
    assert len({FORMAT.encode(DATA, HERE) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "elsewhere",
    [
        Where("message", "t", "acme"),
        Where("message", "s", ""),
        Where("message", "s", "acme2"),
        Where("event", "s", "acme"),
        Where("messages", "", "acme"),
        Where("", "message" + "s", "acme"),
    ],
    ids=str,
)
def test_a_record_that_was_copied_elsewhere_is_refused(elsewhere: Where) -> None:
    record = FORMAT.encode(DATA, HERE)
    with pytest.raises(Unreadable, match="another session, kind or namespace"):
        FORMAT.decode(record, elsewhere)
    [found] = FORMAT.decode_many([record], elsewhere)
    assert isinstance(found, Unreadable)


def test_a_record_of_which_any_bit_was_changed_or_cut_off_is_refused() -> None:
    record = FORMAT.encode({"a": 1}, HERE)
    for at in range(len(record)):
        changed = bytearray(record)
        changed[at] ^= 1
        with pytest.raises((Unreadable, EncryptionKeyMissing, SchemaTooNew)):
            FORMAT.decode(bytes(changed), HERE)
        with pytest.raises((Unreadable, EncryptionKeyMissing)):
            FORMAT.decode(record[:at], HERE)


def test_one_bad_record_among_others_is_told_in_its_place() -> None:
    good, bad = FORMAT.encode(DATA, HERE), FORMAT.encode(DATA, Where("message", "t"))
    found = FORMAT.decode_many([bad, good, b"", good, bad], HERE)
    assert [isinstance(each, Unreadable) for each in found] == [True, False, True, False, True]
    assert found[1] == found[3] == DATA


def test_a_key_that_is_missing_is_told_by_its_id_and_is_no_damage() -> None:
    record = EncryptedFormat({"2027": NEW}).encode(DATA, HERE)
    for form in (FORMAT, JsonFormat()):
        for read in (form.decode, lambda raw, where, form=form: form.decode_many([raw], where)):
            with pytest.raises(EncryptionKeyMissing, match="'2027'") as caught:
                read(record, HERE)
            assert caught.value.key_id == "2027"
            assert "MINIAGENT_ENCRYPTION_KEYS" in caught.value.hint
            assert isinstance(caught.value, MiniAgentError)


def test_another_key_of_the_same_name_is_refused() -> None:
    record = EncryptedFormat({"k": NEW}).encode(DATA, HERE)
    with pytest.raises(Unreadable, match="another key named 'k'"):
        FORMAT.decode(record, HERE)


def test_old_keys_are_read_and_the_current_one_is_written() -> None:
    record = FORMAT.encode(DATA, HERE)
    both = EncryptedFormat(KeyRing("2027", {"k": OLD, "2027": NEW}))
    assert both.decode(record, HERE) == DATA
    assert both.encode(DATA, HERE).startswith(b"enc1:2027:")


def test_what_is_not_encrypted_is_refused_unless_it_is_asked_for() -> None:
    plain = JsonFormat().encode(DATA, HERE)
    with pytest.raises(Unreadable, match="not encrypted"):
        FORMAT.decode(plain, HERE)
    assert EncryptedFormat({"k": OLD}, reads_plain=True).decode(plain, HERE) == DATA


def test_a_newer_schema_is_refused_as_in_plain_records(monkeypatch: Any) -> None:
    monkeypatch.setattr(frame, "SCHEMA", 2)
    record = FORMAT.encode({"v": 2, **DATA}, HERE)
    monkeypatch.undo()
    with pytest.raises(SchemaTooNew):
        FORMAT.decode(record, HERE)


def test_a_record_of_a_later_way_of_encrypting_is_refused_as_newer() -> None:
    with pytest.raises(SchemaTooNew):
        FORMAT.decode(b"enc2:k:" + bytes(100), HERE)
    with pytest.raises(SchemaTooNew):
        JsonFormat().decode(b"enc2:k:" + bytes(100), HERE)


def test_many_threads_share_one_format() -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        for i in range(200):
            where = Where("message", f"s{(number + i) % 7}")
            if FORMAT.decode(FORMAT.encode({"i": i}, where), where) != {"i": i}:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_without_the_package_the_error_names_the_extra(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "miniagent_redis.crypto.cipher", None)
    monkeypatch.delattr("miniagent_redis.crypto.cipher")
    with pytest.raises(StoreMisconfigured, match=r"miniagent-redis\[crypto\]"):
        EncryptedFormat({"k": OLD})


@pytest.mark.parametrize("inner", [1, "json", object()])
def test_an_inner_format_that_is_none_is_refused(inner: Any) -> None:
    with pytest.raises(InvalidInput, match="inner"):
        EncryptedFormat({"k": OLD}, inner)


def golden() -> list[Any]:
    rows = map(json.loads, GOLDEN.read_text("utf-8").splitlines())
    return [pytest.param(row, id=f"{row['kind']}-{row['key']}") for row in rows]


@pytest.mark.parametrize("row", golden())
def test_a_record_of_earlier_versions_is_read_for_ever(row: dict[str, Any]) -> None:
    form = EncryptedFormat({row["key_id"]: bytes.fromhex(row["secret"])})
    where = Where(row["kind"], row["key"], row["namespace"])
    assert form.decode(base64.b64decode(row["record"]), where) == row["expected"]
