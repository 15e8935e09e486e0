"""The one thing that pyproject.toml cannot say: the data folders of the checkout are shipped inside the package."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

DATA = ("reports/published", "splits")  # each becomes avbench/data/NAME; `avbench.home.data_folders` finds it there


class BuildWithData(build_py):
    """Copies the data folders into a built package; an editable install reads them from the checkout."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for kind in DATA:
            for source in sorted(path for path in Path(kind).rglob("*") if path.is_file()):
                target = Path(self.build_lib, "avbench", "data", source)
                self.mkpath(str(target.parent))
                self.copy_file(str(source), str(target), preserve_mode=False)


setup(cmdclass={"build_py": BuildWithData})
