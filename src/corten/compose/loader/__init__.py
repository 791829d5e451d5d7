"""Files to a project.

    project = load(Options(files=("compose.yaml",), environ=os.environ))
    check_possible(project)                # before anything is made: raises for what one machine cannot do
    without_effect(project)                # lines to be said once: what is accepted and not used

All errors are ComposeError, with file, line and remedy; `project.warnings` are of the files themselves.
"""

from __future__ import annotations

from corten.compose.loader.effects import check_possible, without_effect
from corten.compose.loader.load import Model, load, load_model
from corten.compose.loader.options import Options

__all__ = ["Model", "Options", "check_possible", "load", "load_model", "without_effect"]
