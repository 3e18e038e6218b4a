"""An image, built from nothing with Debian's tools: buildah without a daemon, on a base by debootstrap."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROGRAMS = ("buildah", "debootstrap")
SUITE, PYTHON = "bookworm", (3, 11)  # the Python that this suite of Debian has
ROOM_BYTES = 10 * 2**30  # base, image and the container, each whole, and twice while one is put away
SOURCES = ("pretrain", "megatron_lite", "launch", "configs", "docker")


def missing() -> str | None:
    """Why no image can be built here, or None."""
    absent = [name for name in PROGRAMS if not shutil.which(name)]
    if absent:
        return f"no {' and no '.join(absent)} here; .ci/docker installs them on Debian"
    if os.geteuid() != 0:
        return "debootstrap, and buildah without user namespaces, need root"
    if sys.version_info[:2] != PYTHON:
        return f"wheels for the image are collected by this Python, which is not the image's {PYTHON}"
    import torch

    return "the image would take this machine's torch, gigabytes of CUDA" if torch.version.cuda else None


def no_room(folder: Path) -> str | None:
    """Why there is no place for it, or None."""
    free = shutil.disk_usage(folder).free
    return f"{free / 2**30:.0f} GiB free, {ROOM_BYTES / 2**30:.0f} needed" if free < ROOM_BYTES else None


class Image:
    """The image in a storage of its own, and a container of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.container = ""
        self.config: dict[str, Any] = {}

    def buildah(self, *words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Give buildah a command."""
        store = [f"--{name}={self.folder / name}" for name in ("root", "runroot")]
        command = ["nice", "-n", "10", "buildah", *store, "--storage-driver=vfs", *map(str, words)]
        temporary = self.folder / "temporary"
        temporary.mkdir(exist_ok=True)
        ended = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | {"TMPDIR": str(temporary)}
        )
        assert not check or ended.returncode == 0, f"{words[0]}: {(ended.stdout + ended.stderr)[-6000:]}"
        return ended

    def make_base(self, name: str) -> None:
        """Debian at its smallest."""
        container = self.buildah("from", "scratch").stdout.strip()
        place = self.buildah("mount", container).stdout.strip()
        command = ["nice", "-n", "10", "debootstrap", "--variant=minbase", SUITE, place]
        ended = subprocess.run(command, capture_output=True, text=True)
        assert ended.returncode == 0, (ended.stdout + ended.stderr)[-4000:]
        self.buildah("commit", "--quiet", "--rm", container, name)

    def collect_wheels(self) -> Path:
        """What pip would install, from wherever pip takes it here: the build then needs no registry."""
        source = self.folder / "source"
        for name in SOURCES:
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source / name)
        wheels = self.folder / "wheels"
        constraints = ROOT / "docker" / "constraints.txt"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
        words = ["--wheel-dir", wheels, "--constraint", constraints, source, "setuptools>=69", "wheel"]
        ended = subprocess.run(["nice", "-n", "10", *pip, *map(str, words)], capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr[-4000:]
        for ours in wheels.glob("pretrain_power*"):
            ours.unlink()  # the image's build makes its own
        return wheels

    def build(self) -> None:
        """docker/Dockerfile, of this tree, and a container of it."""
        self.make_base("localhost/base")
        wheels = self.collect_wheels()
        arguments = {"BASE": "localhost/base", "PIP_FIND_LINKS": "/wheelhouse", "PIP_NO_INDEX": "1"}
        self.buildah(
            "build-using-dockerfile",
            *("--isolation=chroot", "--format=docker", "--pull-never", "--tag=localhost/pretrain"),
            *(f"--build-arg={key}={value}" for key, value in arguments.items()),
            f"--volume={wheels}:/wheelhouse:ro",
            f"--file={ROOT / 'docker' / 'Dockerfile'}",
            ROOT,
        )
        shutil.rmtree(wheels)
        self.buildah("rmi", "--force", "localhost/base", check=False)
        self.container = self.buildah("from", "--pull-never", "localhost/pretrain").stdout.strip()
        seen = json.loads(self.buildah("inspect", self.container).stdout)
        self.config = seen["Docker"]["config"]

    @property
    def files(self) -> Path:
        """The container's root folder."""
        return Path(self.buildah("mount", self.container).stdout.strip())

    def run(
        self, *words: str, user: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """What `docker run IMAGE WORDS` does: the entrypoint, the words, the image's user and folder."""
        options = ["--isolation=chroot", *([f"--user={user}"] if user else [])]
        start = [*self.config["Entrypoint"], *words]
        return self.buildah("run", *options, self.container, "--", *start, check=check)

    def remove(self) -> None:
        """Leave nothing behind."""
        mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for place in reversed([place for place in mounted if Path(place).is_relative_to(self.folder)]):
            subprocess.run(["umount", "--lazy", place])  # debootstrap's /proc, where it was interrupted
        self.buildah("rm", "--all", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
