"""The package as a whole: types, the oldest Python, the wheel, and what it depends on."""

import email
import pathlib
import subprocess
import sys
import tarfile
import venv
import zipfile

from harness import ROOT, environment

CLIENT = ROOT / "clients/python"


def tool(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=CLIENT, env=environment(), capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout + done.stderr


def test_types_are_complete_and_right():
    code, text = tool("mypy", "--cache-dir", str(ROOT / "target/mypy"))
    assert code == 0, text


def test_syntax_and_library_are_those_of_python_3_9():
    vermin = pathlib.Path(sys.executable).with_name("vermin")
    options = ["--target=3.9-", "--violations", "--eval-annotations", "--no-tips", "src"]
    done = subprocess.run([vermin, *options], cwd=CLIENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_core_imports_only_the_standard_library():
    script = (
        "import sys; import realmgate, realmgate.cli, realmgate.wsgi, realmgate.asgi\n"
        "found = {name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names) - {'realmgate'}\n"
        "print(sorted(name for name in found if not name.startswith('_')))"
    )
    # -S: without the packages of the environment, an import of one of them fails.
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], env=environment(), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_wheel_and_source_archive_install_and_run(tmp_path):
    code, text = tool("build", "--no-isolation", "--outdir", str(tmp_path), ".")
    assert code == 0, text
    wheel, archive = (next(tmp_path.glob(end)) for end in ("*.whl", "*.tar.gz"))
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
        metadata = email.message_from_bytes(content.read("realmgate-0.2.0.dist-info/METADATA"))
    assert "realmgate/py.typed" in names
    assert not [name for name in names if not name.startswith(("realmgate/", "realmgate-0.2.0.dist-info/"))]
    required = [text for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text]
    assert (metadata["Requires-Python"], required) == (">=3.9", [])
    with tarfile.open(archive) as content:
        assert "realmgate-0.2.0/src/realmgate/__init__.py" in content.getnames()
    fresh = tmp_path / "fresh"
    venv.create(fresh)
    plain = {key: value for key, value in environment().items() if key != "PYTHONPATH"}
    pip = [sys.executable, "-m", "pip", "--python", fresh / "bin/python", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-index", wheel], check=True, env=plain, timeout=120)
    for command in ([fresh / "bin/realmgate-otp"], [fresh / "bin/python", "-m", "realmgate"]):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, env=plain, timeout=60)
        assert done.stdout == "realmgate-otp 0.2.0\n", done.stderr


def test_pins_are_exact():
    lines = (CLIENT / "requirements.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert len(pins) > 40 and all(line.count("==") == 1 for line in pins)
    backend = [line for line in pins if line.startswith("hatchling")]
    assert f'requires = ["{backend[0]}"]' in pathlib.Path(CLIENT / "pyproject.toml").read_text()
