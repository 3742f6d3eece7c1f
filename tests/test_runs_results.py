"""Results that a folder collects: comparison, damaged files, merging, the waiting lock."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tfdm.errors import UserError
from tfdm.runs import results
from tfdm.runs.atomic import atomic_write_json

CONTENT = {"source": {"run": "a", "step": 3}, "digest": "d1", "estimates": {"gmm": {"kl": 1.0}}}


def test_differences_name_each_field_in_the_order_asked() -> None:
    recorded = {"b": 1, "a": [1, 2], "gone": True, "same": 1}
    asked = {"a": (1, 3), "b": True, "new": "x", "same": 1.0}
    expected = ["a: [1, 2] -> [1, 3]", "b: 1 -> true", "new: absent -> x", "gone: true -> absent"]
    assert results.differences(recorded, asked) == expected
    assert results.differences(recorded, asked, ["a", "gone"]) == expected[1:3]
    assert results.differences({"a": [1, 2]}, {"a": (1, 2)}) == []


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "\x00"])
def test_a_damaged_file_is_one_line_that_names_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "kl.json").write_text(content)
    with pytest.raises(UserError, match=r"kl\.json is damaged .*: move it away") as raised:
        results.read_json(tmp_path / "kl.json")
    assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match=r"cannot read .*absent\.json"):
        results.read_json(tmp_path / "absent.json")


def _earlier(path: Path, asked: dict[str, Any]) -> dict[str, Any]:
    return results.earlier_results(
        path,
        asked,
        ("digest", "source"),
        groups=("estimates",),
        about="other posteriors",
        ignore=("run",),
    )


def test_earlier_results_must_be_about_the_same(tmp_path: Path) -> None:
    path = tmp_path / "kl.json"
    assert _earlier(path, CONTENT) == {}
    atomic_write_json(path, CONTENT)
    moved = {**CONTENT, "source": {"run": "b", "step": 3}, "estimates": {}}
    assert _earlier(path, moved) == CONTENT
    for asked, difference in (
        ({**CONTENT, "digest": "d2"}, "digest: d1 -> d2"),
        ({**CONTENT, "source": {"run": "a", "step": 4}}, "step: 3 -> 4"),
    ):
        with pytest.raises(UserError, match=f"is about other posteriors .{difference}"):
            _earlier(path, asked)
    for damage in ({"estimates": []}, {"estimates": None}):
        atomic_write_json(path, CONTENT | damage)
        with pytest.raises(UserError, match="is damaged .it has no 'estimates'"):
            _earlier(path, CONTENT)


def test_added_records_replace_those_of_their_name() -> None:
    earlier = {"1": {"a": {"x": 1}, "b": {"x": 2}}, "2": {"a": {"x": 3}}}
    added = {"1": {"b": {"y": 4}}, "3": {}}
    assert results.merged(earlier, added) == {**earlier, **added}
    assert results.merged(earlier, added, levels=2) == {
        "1": {"a": {"x": 1}, "b": {"y": 4}},
        "2": {"a": {"x": 3}},
        "3": {},
    }


def test_a_lock_may_wait_and_another_name_is_another_lock(tmp_path: Path) -> None:
    held: list[str] = []

    def wait() -> None:
        with results.locked(tmp_path / "new", wait=True):
            held.append("waiter")

    with results.locked(tmp_path / "new"), results.locked(tmp_path / "new", ".kl.lock"):
        with pytest.raises(UserError, match="in use by another process.*--output_dir"):
            with results.locked(tmp_path / "new"):
                pass
        waiter = threading.Thread(target=wait)
        waiter.start()
        waiter.join(0.2)
        held.append("first")
    waiter.join(10)
    assert held == ["first", "waiter"]


def test_an_error_under_the_lock_is_not_the_folders(tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match="of the body"):
        with results.locked(tmp_path):
            raise PermissionError("of the body")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write into .*file: .*; give a folder"):
        with results.locked(tmp_path / "file", advice="give a folder"):
            pass
