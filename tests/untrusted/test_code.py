"""Nothing that runs code from a file is called anywhere in the package."""

import ast
import pickle
from functools import cache
from pathlib import Path

import pytest
import torchvision.datasets as tv

import tailgrad
from tailgrad.checks import InputError
from tailgrad.data import open_source

ROOT = Path(tailgrad.__file__).parent
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "marshal", "shelve", "joblib", "cloudpickle"}
FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "yaml.unsafe_load"),
    *("yaml.full_load", "yaml.load_all", "np.fromfile", "pd.read_pickle", "torch.hub.load", "np.loadtxt"),
    *("extractall", "extract", "ast.literal_eval"),
}


@cache
def trees() -> dict[str, ast.Module]:
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(ROOT.rglob("*.py"))
    }


@cache
def calls() -> list[tuple[str, str, ast.Call]]:
    return [
        (path, ast.unparse(node.func), node)
        for path, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    ]


def test_no_module_that_unpickles_is_imported() -> None:
    for path, tree in trees().items():
        for node in ast.walk(tree):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            assert not {name.split(".")[0] for name in names} & FORBIDDEN_MODULES, path


def test_no_call_runs_what_a_file_holds() -> None:
    found = calls()
    assert len(found) > 2000
    for path, name, node in found:
        keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
        assert name not in FORBIDDEN_CALLS, f"{path}: {name}"
        assert name.rpartition(".")[2] not in {"extractall", "popen"}, f"{path}: {name}"
        assert keywords.get("shell", "False") == "False", f"{path}: {name}"
        if name in {"np.load", "np.savez", "np.savez_compressed", "np.save"}:
            assert keywords.get("allow_pickle") == "False", f"{path}: {name}"


def test_yaml_is_read_in_one_place() -> None:
    readers = {(path, name) for path, name, _ in calls() if name.startswith("yaml.") and "dump" not in name}
    assert {path for path, _ in readers} == {"untrusted.py"}


def test_modules_are_imported_by_names_of_ours_only() -> None:
    for path, name, node in calls():
        if name in {"import_module", "importlib.import_module"}:
            said = ast.unparse(node.args[0])
            known = (
                said.startswith(("'tailgrad.", "f'tailgrad."))
                or said in {"_HOME[name]", "home"}
                or said.isidentifier()
                or "'" in said
            )
            assert known, f"{path}: {said}"


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_a_pickle_in_place_of_cifar_is_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(tv.utils.urllib.request, "urlopen", refuse)
    kind = tv.CIFAR10 if name == "cifar10" else tv.CIFAR100
    folder = tmp_path / kind.base_folder
    folder.mkdir()
    bomb = pickle.dumps(Bomb(tmp_path / "ran"))
    for file, _ in [*kind.train_list, *kind.test_list, (kind.meta["filename"], "")]:
        (folder / file).write_bytes(bomb)
    with pytest.raises(InputError, match="must be at hand or be fetched"):
        open_source(name, root=tmp_path)
    assert not (tmp_path / "ran").exists()
    pickle.loads(bomb)
    assert (tmp_path / "ran").exists()  # the bomb does go off where somebody opens it
