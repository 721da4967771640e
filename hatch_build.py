"""Build the compiled twins of some functions (see twisted_mta/compiled.py), where that is asked for: TWISTED_MTA_COMPILE=1.

Without it, what is built is the same for all machines. With it, a C compiler and the headers of Python are needed; a wheel is
then for this machine and this Python alone.

Flow: hatchling calls it while it builds a wheel.
Sources: the manual of hatchling, "custom build hook"; the manual of Cython.
"""

import os
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledTwins(BuildHookInterface[Any]):
    """Compiles every .pyx file of the package."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What building needs, beside a C compiler."""
        return ["cython>=3.0,<4", "setuptools>=70"] if _is_wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and have the wheel contain what came of it."""
        if not _is_wanted() or self.target_name != "wheel":
            return
        from Cython.Build import cythonize
        from setuptools import Distribution, Extension
        from setuptools.command.build_ext import build_ext

        root = Path(self.root)
        sources = sorted(path.relative_to(root) for path in root.glob("twisted_mta/**/*.pyx"))
        modules = [Extension(".".join(source.with_suffix("").parts), [str(source)]) for source in sources]
        place = Path(self.directory, "compiled").absolute()
        os.chdir(root)
        distribution = Distribution({"name": "twisted_mta", "ext_modules": cythonize(modules, build_dir=str(place))})
        command = build_ext(distribution)
        command.build_lib, command.build_temp = str(place / "lib"), str(place / "temp")
        command.ensure_finalized()
        command.run()
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        build_data["force_include"] |= {
            str(place / "lib" / source.with_suffix(suffix)): str(source.with_suffix(suffix)) for source in sources
        }
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def _is_wanted() -> bool:
    return os.environ.get("TWISTED_MTA_COMPILE") == "1"
