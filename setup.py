"""Packaging: two importable packages; configs and the start script travel inside `pretrain`."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "pretrain" / "__init__.py").read_text().splitlines()
    if line.startswith("__version__")
)

setup(
    name="pretrain-power",
    version=VERSION,
    description="Pretraining of µP decoders under the power learning rate, on DeepSpeed ZeRO",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[
        *find_packages(include=["pretrain", "pretrain.*", "megatron_lite", "megatron_lite.*"]),
        "pretrain.configs",
        "pretrain.launch",
    ],
    package_dir={"pretrain.configs": "configs", "pretrain.launch": "launch"},
    package_data={
        "pretrain.configs": ["*.yaml", "sweeps/*.yaml"],
        "pretrain.launch": ["slurm/*.sbatch", "slurm/*.sh", "slurm/*.py"],
    },
    install_requires=[
        "torch==2.13.*",  # an open range installs another CUDA with every release
        "deepspeed>=0.19.6",
        "transformers>=5.0",
        "datasets>=4.0",
        "pyarrow>=15",  # reads the records of long runs
        "sentencepiece>=0.2",
        "tiktoken>=0.9",
        "protobuf>=4",
        "zstandard>=0.22",
        "safetensors>=0.5",
        "pydantic>=2.8",
        "pyyaml>=6.0",
        "typer>=0.15",
        "rich>=13.0",
        "numpy>=1.26",
        "scipy>=1.11",
        "psutil>=5.9",
        "packaging>=23",  # versions against ranges, in the doctor
        "matplotlib>=3.8",
        "tensorboard>=2.16",
        "wandb>=0.18",
    ],
    extras_require={
        "gpu": ["flash-attn>=2.6"],
        "eval": ["lm-eval>=0.4.12,<0.5"],
        "dev": [
            "pytest>=8",
            "lm-eval>=0.4.12,<0.5",
            "accelerate>=1.0",  # lm-eval's own backend, which ours is compared with
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "hypothesis>=6.100",
            "ruff>=0.8",
            "mypy>=1.13",
            "import-linter>=2.1",
            "kubernetes-validate>=1.31",
            "types-PyYAML",
            "types-psutil",
        ],
    },
    entry_points={"console_scripts": ["pretrain=pretrain.cli:main"]},
    classifiers=[
        "Programming Language :: Python :: 3.11",
        "License :: OSI Approved :: Apache Software License",
    ],
)
