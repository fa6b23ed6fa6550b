"""MONAI comes without Transformers, which is there as before for who wants it."""

import subprocess
import sys
from importlib import import_module

import pytest

from vb_node.models.nets import not_to_be_found

ASKED = """
import sys
from vb_node.models import backbones, lesion_network
assert "transformers" not in sys.modules, "MONAI has imported Transformers"
import transformers
from monai.networks.nets.unet import UNet
assert isinstance(lesion_network.build(), UNet)
print(transformers.GenerationConfig.__name__)
"""


def test_a_network_of_monai_is_built_without_transformers_which_is_imported_afterwards() -> None:
    ended = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout.strip()) == (0, "GenerationConfig"), ended.stderr


def test_what_is_imported_already_stays() -> None:
    with not_to_be_found("pytest"):
        assert import_module("pytest") is pytest

    assert import_module("pytest") is pytest


def test_what_is_not_to_be_found_is_so_for_the_block_alone() -> None:
    with not_to_be_found("this_is_no_library"), pytest.raises(ImportError):
        import_module("this_is_no_library")

    assert "this_is_no_library" not in sys.modules
