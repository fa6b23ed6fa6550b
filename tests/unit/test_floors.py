"""The floors of docs/flow.md, held against the real imports: downward only, and rooms on one floor do not meet."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = (
    ("cli", "demo", "by_hand", "conformance", "backup", "dossier", "reconfigure", "rerun", "exit_status", "__main__"),
    ("web",),
    ("doctor", "ask", "rules", "shadow", "evaluation", "site_weights"),
    ("show",),
    ("runtime", "applications", "training", "simulate"),
    ("pipeline", "changes", "tell", "openid"),
    ("dicom", "dimse", "dicomweb", "models"),
    ("config", "log", "gpu"),
    ("types",),
    ("errors",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
WITH_TORCH = {"models", "applications", "training", "evaluation"}
FILES = sorted([*(ROOT / "vb_node").rglob("*.py"), *(ROOT / "storage").rglob("*.py")])


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def _room(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "vb_node" and len(parts) > 1 and parts[1] in FLOOR_OF else None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_the_floors(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    here = parts[1] if parts[0] == "vb_node" and len(parts) > 1 else parts[0]

    for module in _imports(path):
        room = _room(module)
        if here == "storage":
            assert not module.startswith("vb_node"), f"storage imports {module}"
        elif room is not None and room != here and here in FLOOR_OF:
            is_down = FLOOR_OF[room] > FLOOR_OF[here]
            is_the_top = FLOOR_OF[here] == 0 == FLOOR_OF[room]
            assert is_down or is_the_top, f"{here} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_torch_stays_in_its_rooms(path: Path) -> None:
    parts = path.relative_to(ROOT).parts
    uses_torch = any(module.split(".")[0] in {"torch", "monai", "transformers"} for module in _imports(path))

    assert not uses_torch or parts[1] in WITH_TORCH


def test_every_room_has_a_floor() -> None:
    rooms = {path.relative_to(ROOT / "vb_node").with_suffix("").parts[0] for path in (ROOT / "vb_node").rglob("*.py")}

    assert rooms - {"__init__"} <= set(FLOOR_OF)


def test_the_runtime_names_no_application() -> None:
    for path in (ROOT / "vb_node" / "runtime").rglob("*.py"):
        assert not [module for module in _imports(path) if module.startswith("vb_node.applications")]
