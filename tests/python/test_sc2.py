"""StarCraft II's messages as Motley declares them, against the descriptors of Blizzard's own package: every field's name, number, type."""

import functools
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

if importlib.util.find_spec("s2clientprotocol") is None:
    pytest.skip("s2clientprotocol is not installed", allow_module_level=True)

ROOT = pathlib.Path(__file__).resolve().parents[2]
DECLARED = ROOT / "crates" / "motley-sc2" / "src" / "proto.rs"
WORDS = ROOT / "crates" / "motley-sc2" / "src" / "proto" / "tests.rs"
STRUCT = re.compile(r"pub struct (\w+) \{(.*?)\}\n", re.S)
FIELD = re.compile(r'#\[prost\(([^]]*), tag = "(\d+)"\)\]\s+pub (?:r#)?(\w+): ([^\n]*),\n')
# Numbers of types in descriptors, by what they are written as here; enumerations are their numbers.
TYPES = {"uint32": 13, "int32": 5, "uint64": 4, "bool": 8, "float": 2, "string": 9, "bytes": 12, "message": 11}
ENUM = 14

# Run apart: the package was generated for an older protobuf, of which only the pure Python part reads it, and a process has one of them.
PACKAGE = """
import json
from s2clientprotocol import common_pb2, data_pb2, debug_pb2, raw_pb2, sc2api_pb2

def field(f):
    repeated = f.is_repeated if hasattr(f, "is_repeated") else f.label == f.LABEL_REPEATED
    kind = f.message_type.name.lower() if f.message_type else None
    return {"number": f.number, "type": f.type, "repeated": repeated, "packed": f.GetOptions().packed, "message": kind}

files = (common_pb2, data_pb2, debug_pb2, raw_pb2, sc2api_pb2)
messages = {name.lower(): {f.name: field(f) for f in message.fields}
            for file in files for name, message in file.DESCRIPTOR.message_types_by_name.items()}

order = sc2api_pb2.Request(id=7)
command = order.action.actions.add().action_raw.unit_command
command.ability_id, command.target_unit_tag, command.queue_command = 23, 4295229441, False
command.unit_tags.extend([4294967297, 3])
create = sc2api_pb2.Request(id=1)
create.create_game.local_map.map_path, create.create_game.local_map.map_data = "SMAC_Maps/3m.SC2Map", bytes([1, 2])
create.create_game.player_setup.add(type=1)
create.create_game.player_setup.add(type=2, race=1, difficulty=7)
create.create_game.random_seed, create.create_game.realtime = 5, False
debug = sc2api_pb2.Request(id=2)
unit = debug.debug.debug.add().create_unit
unit.unit_type, unit.owner, unit.pos.x, unit.pos.y, unit.quantity = 48, 2, 3.5, -1.25, 1
debug.debug.debug.add().kill_unit.tag.extend([9, 300])
seen = sc2api_pb2.Response(id=3, status=3)
seen.observation.observation.game_loop = 16
unit = seen.observation.observation.raw_data.units.add(
    display_type=1, alliance=1, tag=4295229441, unit_type=48, owner=1, facing=0.5, radius=0.375, build_progress=1, health=45,
    health_max=45, shield=0, shield_max=0, energy=0, weapon_cooldown=13.5, is_flying=False)
unit.pos.x, unit.pos.y, unit.pos.z = 9.5, 16.25, 12
seen.observation.player_result.add(player_id=1, result=2)
encoded = {"ORDER": order, "CREATE": create, "DEBUG": debug, "SEEN": seen}
print(json.dumps({"messages": messages, "encoded": {name: m.SerializeToString().hex() for name, m in encoded.items()}}))
"""


@functools.cache
def package():
    given = {**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    done = subprocess.run([sys.executable, "-c", PACKAGE], env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def declared():
    return [(name, FIELD.findall(body), body.count("#[prost(")) for name, body in STRUCT.findall(DECLARED.read_text())]


def test_all_declarations_are_read():
    messages = declared()
    assert len(messages) == DECLARED.read_text().count("pub struct ") > 35
    for name, fields, count in messages:
        assert len(fields) == count, name


@pytest.mark.parametrize("name", [name for name, _, _ in declared()])
def test_fields_are_the_protocols(name):
    message = package()["messages"][name.lower()]
    fields = next(fields for declared_name, fields, _ in declared() if declared_name == name)
    for attributes, tag, field_name, rust in fields:
        field = message[field_name]
        where = f"{name}.{field_name}"
        words = [word.strip() for word in attributes.split(",")]
        kind = words[0].split(" ")[0]
        assert field["number"] == int(tag), where
        assert TYPES[kind] == field["type"] or (kind == "int32" and field["type"] == ENUM), where
        assert ("repeated" in words) == field["repeated"], where
        assert ("repeated" in words) != ("optional" in words), where
        if field["repeated"] and kind not in ("message", "string"):
            assert 'packed = "false"' in words and not field["packed"], where
        if kind == "message":
            assert rust.split("<")[-1].rstrip(">").lower() == field["message"], where


def test_the_bytes_that_the_rust_test_reads_are_the_packages():
    text = WORDS.read_text()
    for name, encoded in package()["encoded"].items():
        found = re.search(rf'const {name}: &str =\s*"([0-9a-f]+)"', text)
        assert found and found[1] == encoded, name
