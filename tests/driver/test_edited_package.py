"""What hands did to a package folder: nothing of it is removed, and nothing replaced in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusec.codegen import package
from fusec.codegen.index import index


def files(*names: str, number: int = 1) -> dict[str, str]:
    made = {f"{name}.py": f"# {package.MARK} 0\n__all__ = ['{name}']\n{name} = {number}\n" for name in names}
    others = {**made, "py.typed": ""}
    return {**others, "__init__.py": index({name: (name,) for name in names}, "0") + package.listing(others)}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "ops"
    package.write(folder, files("alpha", "beta"))
    return folder


def test_an_untouched_package_has_nothing_to_tell(out: Path) -> None:
    assert package.write(out, files("alpha", "beta")) == package.Changes()
    changes = package.write(out, files("alpha", "gamma", number=2))
    assert changes == package.Changes(("gamma.py",), ("__init__.py", "alpha.py"), ("beta.py",))


@pytest.mark.parametrize("edit", ["", "# mine\n"])
def test_a_copy_stays_and_is_told(out: Path, edit: str) -> None:
    text = (out / "alpha.py").read_text() + edit
    (out / "copy.py").write_text(text)
    for made in (files("alpha", "beta"), files("alpha")):
        changes = package.write(out, made)
        assert (changes.kept, "copy.py" in changes.removed) == (("copy.py",), False)
        assert (out / "copy.py").read_text() == text


def test_an_edited_module_whose_spec_is_gone_stays_and_is_told(out: Path) -> None:
    (out / "beta.py").write_text((out / "beta.py").read_text() + "# mine\n")
    for _ in range(2):
        changes = package.write(out, files("alpha"))
        assert (changes.removed, changes.kept) == ((), ("beta.py",))
        assert (out / "beta.py").read_text().endswith("# mine\n")


def test_an_edited_module_is_replaced_and_told(out: Path) -> None:
    (out / "beta.py").write_text((out / "beta.py").read_text() + "# mine\n")
    changes = package.write(out, files("alpha", "beta"))
    assert (changes.changed, changes.edited) == (("beta.py",), ("beta.py",))
    assert package.write(out, files("alpha", "beta")) == package.Changes()


def test_a_copy_under_the_name_of_a_new_spec_is_in_the_way(out: Path) -> None:
    (out / "gamma.py").write_text((out / "alpha.py").read_text())
    with pytest.raises(package.PackageError, match=r"gamma\.py: in the way"):
        package.write(out, files("alpha", "gamma"))


def test_files_without_our_mark_are_nobodys_business(out: Path) -> None:
    (out / "helper.py").write_text("x = 1\n")
    assert package.write(out, files("alpha", "beta")) == package.Changes()


def test_a_package_of_an_earlier_version_is_replaced(tmp_path: Path) -> None:
    old = files("alpha", "beta")
    old["__init__.py"] = index({"alpha": ("alpha",), "beta": ("beta",)}, "0")
    package.write(tmp_path / "ops", old)
    changes = package.write(tmp_path / "ops", files("alpha", number=2))
    assert changes == package.Changes((), ("__init__.py", "alpha.py"), ("beta.py",))
