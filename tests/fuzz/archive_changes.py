"""Changes inside the archives of weights: torch.save's zip around a pickle, and safetensors."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING

from fuzz.changes import BYTES, Change, on_bytes, pick
from fuzz.json_changes import changed_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from fuzz.changes import Numbers

__all__ = ["SAFETENSORS", "TORCH"]

_OPCODES = (
    b"2", b"0", b"1", b"(", b"}", b"]", b")", b"t", b"\x85", b"\x86", b"\x87", b"R", b"b", b"u",
    b"s", b"a", b"e", b"Q", b"N", b"\x88", b"\x81", b"h\x00", b"h\x01", b"q\x00",
    b"r\xff\xff\xff\x7f", b"J\xff\xff\xff\xff", b"\x8a\xff" + b"\xff" * 255,
    b"X\xff\xff\xff\x7f", b"cos\nsystem\n", b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ccollections\nOrderedDict\n", b"ctorch\nFloatStorage\n", b"K\x00", b"M\xff\xff",
    b"G" + b"\xff" * 8,
)  # fmt: skip


def _members(content: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def _zipped(members: list[tuple[str, bytes]], *, method: int = zipfile.ZIP_STORED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return made.getvalue()


def _in_member(suffix: str, change: Callable[[bytes, Numbers], bytes]) -> Callable[..., bytes]:
    """Change one member and zip all again, so that its checksum fits."""

    def apply(content: bytes, numbers: Numbers) -> bytes:
        members = _members(content)
        at = pick([i for i, (name, _) in enumerate(members) if name.endswith(suffix)], sum(numbers))
        members[at] = members[at][0], change(members[at][1], numbers)
        return _zipped(members)

    return apply


def _opcode(content: bytes, numbers: Numbers) -> bytes:
    at = numbers[0] % max(1, len(content))
    return content[:at] + pick(_OPCODES, numbers[1]) * (1 + numbers[2] % 3) + content[at:]


def _over_opcode(content: bytes, numbers: Numbers) -> bytes:
    at, code = numbers[0] % max(1, len(content)), pick(_OPCODES, numbers[1])
    return content[:at] + code + content[at + len(code) :]


def _flipped(content: bytes, numbers: Numbers) -> bytes:
    at = numbers[0] % max(1, len(content))
    return content[:at] + bytes([content[at] ^ (1 << numbers[1] % 8)]) + content[at + 1 :]


def _number(content: bytes, numbers: Numbers) -> bytes:
    """Change the argument of an opcode that holds a whole number: sizes, strides, offsets."""
    found = [i for i in range(len(content) - 1) if content[i : i + 1] in (b"K", b"M", b"J")]
    if not found:
        return content
    at = pick(found, numbers[0])
    width = {b"K": 1, b"M": 2, b"J": 4}[content[at : at + 1]]
    odd = pick(
        (b"K\x00", b"J\xff\xff\xff\xff", b"J\xff\xff\xff\x7f", b"\x8a\x08" + b"\xff" * 7 + b"\x7f"),
        numbers[1],
    )
    return content[:at] + odd + content[at + 1 + width :]  # fmt: skip


def _lose(content: bytes, numbers: Numbers) -> bytes:
    members = _members(content)
    del members[numbers[0] % len(members)]
    return _zipped(members)


def _swap(content: bytes, numbers: Numbers) -> bytes:
    members = _members(content)
    a, b = numbers[0] % len(members), numbers[1] % len(members)
    names = members[a][0], members[b][0]
    members[a], members[b] = (names[0], members[b][1]), (names[1], members[a][1])
    return _zipped(members)


def _rename(content: bytes, numbers: Numbers) -> bytes:
    members = _members(content)
    at = numbers[0] % len(members)
    odd = pick(("../../x", "/tmp/x", "", "data.pkl", "a" * 300, "archive/data/99"), numbers[1])
    members[at] = odd, members[at][1]
    return _zipped(members)


TORCH = (
    *BYTES,
    Change("opcode in pickle", on_bytes(_in_member("data.pkl", _opcode))),
    Change("opcode over pickle", on_bytes(_in_member("data.pkl", _over_opcode))),
    Change("number in pickle", on_bytes(_in_member("data.pkl", _number))),
    Change("flip in pickle", on_bytes(_in_member("data.pkl", _flipped))),
    Change("flip in a member", on_bytes(_in_member("", _flipped))),
    Change("cut member", on_bytes(_in_member("", lambda c, n: c[: n[0] % (len(c) + 1)]))),
    Change("lose a member", on_bytes(_lose)),
    Change("swap members", on_bytes(_swap)),
    Change("rename a member", on_bytes(_rename)),
    Change("deflated", on_bytes(lambda c, _: _zipped(_members(c), method=zipfile.ZIP_DEFLATED))),
)


def _header(content: bytes, numbers: Numbers) -> bytes:
    size = int.from_bytes(content[:8], "little")
    header = changed_json(content[8 : 8 + size], numbers)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def _header_size(content: bytes, numbers: Numbers) -> bytes:
    odd = (0, 1, 2**63, 2**64 - 1, len(content), len(content) - 8, 100_000_001, numbers[0])
    return pick(odd, numbers[1]).to_bytes(8, "little") + content[8:]


def _offsets(content: bytes, numbers: Numbers) -> bytes:
    """Let one tensor overlap another, or reach past the end."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    names = [name for name in header if name != "__metadata__"]
    start, stop = header[pick(names, numbers[0])]["data_offsets"]
    odd = pick(([0, stop], [start, stop + 4], [stop, start], [start, 2**63]), numbers[2])
    header[pick(names, numbers[1])]["data_offsets"] = odd
    made = json.dumps(header).encode()
    return len(made).to_bytes(8, "little") + made + content[8 + size :]


SAFETENSORS = (
    *BYTES,
    Change("a value of the header", on_bytes(_header)),
    Change("a value of the header once more", on_bytes(_header)),
    Change("size of the header", on_bytes(_header_size)),
    Change("offsets", on_bytes(_offsets)),
)
