"""Has a Python that edge_embed cannot run on refused by name, before pip looks for engines that do not exist for it."""

import os
import sys

from setuptools import setup

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import edge_embed  # noqa: F401 - raises where it cannot run

setup()
