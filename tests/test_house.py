"""Guards of the house: what each module may name, import and weigh, and what the built package carries."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import avbench
from avbench.doctor import requirements, satisfies

from .wheel import said, unpacked

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "avbench"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if len(ast.parse(path.read_text()).body) > 1)
HEAVY = {
    "accelerate", "av", "c2pa", "cryptography", "cv2", "diffusers", "dlib", "espeakng_loader", "jiwer", "matplotlib", "onnxruntime", "peft", "PIL", "pocketsphinx", "safetensors", "scipy",
    "silero_vad", "skimage", "soxr", "tokenizers", "torch", "transformers",
}  # fmt: skip
NEVER = {"torchaudio", "torchvision"}
LARGEST_FILE = 250_000  # bytes

modules = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def exported(path: Path) -> list[str] | None:
    """The literal `__all__` of a module; None where there is none."""
    for node in tree(path).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return list(ast.literal_eval(value))
            case ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.List() as value):
                return list(ast.literal_eval(value))
    return None


def bound(body: list[ast.stmt]) -> set[str]:
    """Names that these statements define or import, under `if` and `try` too."""
    names: set[str] = set()
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names.update(leaf.id for target in targets for leaf in ast.walk(target) if isinstance(leaf, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names.update((alias.asname or alias.name).partition(".")[0] for alias in aliases)
            case ast.If() | ast.Try():
                names |= bound(node.body) | bound(node.orelse)
    return names


def top_level_imports(path: Path) -> set[str]:
    """Packages outside avbench that importing this module imports by itself."""
    found: set[str] = set()
    for node in tree(path).body:
        match node:
            case ast.Import(names=aliases):
                found.update(alias.name.partition(".")[0] for alias in aliases)
            case ast.ImportFrom(module=str(module), level=0):
                found.add(module.partition(".")[0])
    return found


def foreign_modules(code: str) -> set[str]:
    """Packages outside the standard library that a fresh interpreter has imported after this code."""
    probe = (
        "import sys; before = set(sys.modules)\n"
        f"try:\n    {code}\nexcept SystemExit: pass\n"
        "print('\\n' + ' '.join({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()) - set(sys.stdlib_module_names)


# Names ---------------------------------------------------------------------------------------------------------


@modules
def test_all_is_there_sorted_and_complete(path: Path) -> None:
    names = exported(path)
    assert names is not None, "no literal __all__"
    order = [(not name.isupper(), not name[0].isupper(), name) for name in names]
    assert order == sorted(set(order)), "constants, then classes, then functions, each in alphabetical order, once"
    defined = bound(tree(path).body)
    assert set(names) <= defined | {"__version__"}, "__all__ names what the module does not have"
    if "cli" in path.parts:
        return  # its names are commands; nobody imports them
    public = {
        node.name
        for node in tree(path).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }
    assert public <= set(names), "public functions and classes that __all__ lacks (or that want an underscore)"


@modules
def test_modules_use_of_each_other_what_is_public(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        folder = path.parents[node.level - 1]
        source = folder.joinpath(*(node.module or "").split("."))
        file = source.with_suffix(".py") if source.with_suffix(".py").is_file() else source / "__init__.py"
        public = set(exported(file) or []) if file.is_file() else set()
        submodules = {child.stem for child in source.iterdir()} if source.is_dir() else set()
        wanted = {alias.name for alias in node.names}
        assert wanted <= public | submodules, f"line {node.lineno}"


def test_the_lazy_names_are_the_real_ones() -> None:
    for name in avbench.__all__:
        assert getattr(avbench, name).__name__ == name
    assert set(avbench.__all__) < set(dir(avbench))
    typed = next(node for node in tree(PACKAGE / "__init__.py").body if isinstance(node, ast.If))
    assert bound(typed.body) == set(avbench.__all__), "type checkers must see the same names"
    with pytest.raises(AttributeError, match="load_split"):
        _ = avbench.load_splits


# Imports -------------------------------------------------------------------------------------------------------


def test_both_import_contracts_hold() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()"]
    done = subprocess.run([*command, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "Contracts: 2 kept, 0 broken." in done.stdout


@modules
def test_networks_and_codecs_are_imported_when_used(path: Path) -> None:
    networks = {"safetensors", "tokenizers", "torch", "transformers"}
    allowed = networks if "nets" in path.parts else {"torch"} if "generator" in path.parts else set()
    assert not top_level_imports(path) & (HEAVY | NEVER) - allowed


@modules
def test_only_the_command_line_speaks(path: Path) -> None:
    if "cli" in path.parts or '__name__ == "__main__"' in path.read_text():  # or a program of its own
        return
    assert not top_level_imports(path) & {"click", "tqdm", "logging"}
    streams = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    assert not streams & {"sys.stdout", "sys.stderr"}


def test_importing_avbench_imports_nothing_else() -> None:
    assert foreign_modules("import avbench") == {"avbench"}


def test_help_imports_nothing_but_the_parser() -> None:
    code = "sys.argv = ['avbench', '--help']; from avbench.cli import main; main()"
    assert foreign_modules(code) <= {"avbench", "click"}


def test_tables_need_neither_networks_nor_codecs() -> None:
    code = "import avbench.report, avbench.results, avbench.table"
    assert foreign_modules(code) <= {"avbench", "msgspec", "numpy", "platformdirs", "typing_extensions"}


# Packages ------------------------------------------------------------------------------------------------------


def project() -> dict[str, Any]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


def test_no_network_is_a_core_dependency() -> None:
    core = {requirement.name.lower().replace("_", "-") for requirement in requirements("")}
    assert not core & {"torch", "dlib-bin", "silero-vad", "scikit-image", "matplotlib", "espeakng-loader"}
    assert len(core) == len(project()["dependencies"]), "the installed metadata is older than pyproject.toml"


def test_extras_have_content_and_torch_is_exact() -> None:
    extras = project()["optional-dependencies"]
    assert all(extras.values())
    every = [line for lines in [project()["dependencies"], *extras.values()] for line in lines]
    assert not [line for line in every if re.split(r"[\s<>=!~;\[]", line)[0] in NEVER]
    assert {line for line in every if line.startswith("torch")} == {"torch==2.13.0"}
    for name in sorted({re.split(r"[<>=!]", line)[0] for line in every}):  # one range, in whatever extra it stands
        assert len({line for line in every if re.split(r"[<>=!]", line)[0] == name}) == 1, name


def test_the_doctor_understands_every_requirement() -> None:
    for extra in ("", *project()["optional-dependencies"]):
        for requirement in requirements(extra):
            assert re.fullmatch(r"((==|>=|<)[0-9][0-9a-z.]*,?)+", requirement.range), requirement
            assert satisfies(importlib.metadata.version(requirement.name), requirement.range), requirement


def test_one_version_everywhere() -> None:
    newest = re.search(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text().replace("[Unreleased]", ""), re.M)
    citation = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    assert newest is not None
    assert citation is not None
    assert {newest[1], citation[1], avbench.__version__} == {project()["version"]}


def test_the_licence_is_the_standard_text() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert text.split("\n")[1].strip() == "Apache License"
    assert text.rstrip().endswith("limitations under the License.")
    assert project()["license"] == "Apache-2.0"


def test_no_file_is_large() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files are tracked is not known")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    sizes = {name: (ROOT / name).stat().st_size for name in listed if name and (ROOT / name).is_file()}
    assert not {name: size for name, size in sizes.items() if size > LARGEST_FILE}
    assert not [name for name in sizes if name.endswith((".mp4", ".wav", ".png", ".jpg", ".pt", ".dat"))]


def test_a_built_package_finds_its_splits(tmp_path: Path) -> None:
    site = unpacked(tmp_path)
    code = (
        "import avbench, avbench.split as s; print(avbench.__file__); "
        "print(*[s.load_split(name, protocol=True).label for name in s.known_splits(protocols=True)])"
    )
    where, labels = said(site, code)
    heads = sorted(ROOT.glob("splits/*/split.toml"))
    here = [avbench.load_split(str(head.parent), protocol=True).label for head in heads]
    assert Path(where).is_relative_to(site)
    assert labels.split() == here != []
    assert (site / "avbench" / "py.typed").is_file()
