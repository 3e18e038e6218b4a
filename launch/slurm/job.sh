# shellcheck shell=bash
# How ranks start in a Slurm job: read by the batch scripts beside it, never started itself.
#
# `prepare "$0" "$@"` answers --help and --dry-run; otherwise it leaves the command in `command`, the arguments of
# the run in `arguments` and the interpreter in `python`.

slurm_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
launch_folder=$(dirname "$slurm_folder")
JOINT_SECONDS=300 # between the end of the first rank and that of the last: the first rank also writes the report

say() { echo "$*" >&2; }

# The comment of a batch script, without what Slurm reads.
help_of() { awk 'NR == 1 || /^##?SBATCH/ { next } !/^#/ { exit } { sub(/^# ?/, ""); print }' "$1"; }

# What the script itself asks Slurm for, where there is no job yet: asked_for SCRIPT OPTION DEFAULT
asked_for() {
    local value
    value=$(sed -n "s/^#SBATCH --$2=\([^ ]*\).*/\1/p" "$1" | tail -n 1)
    echo "${value:-$3}"
}

# VENV, else the activated environment, else the checkout's own .venv, else whatever `python` is.
find_python() {
    local venv=${VENV:-${VIRTUAL_ENV:-$launch_folder/../.venv}}
    if [[ -x "$venv/bin/python" ]]; then
        export PATH="$venv/bin:$PATH" VIRTUAL_ENV="$venv"
    elif [[ -n "${VENV:-}" ]]; then
        say "VENV: $VENV has no bin/python; name the folder of a virtual environment."
        exit 2
    fi
    python=$(command -v python || command -v python3) || { say "There is no python; set VENV."; exit 2; }
}

# PYTHONPATH: a checkout need not be installed.
find_package() {
    export PYTHONPATH=${PYTHONPATH:-}
    if [[ -d "$launch_folder/../pretrain" ]]; then
        PYTHONPATH=$(cd "$launch_folder/.." && pwd -P)${PYTHONPATH:+:$PYTHONPATH}
    fi
}

# find_layout SCRIPT run ARGUMENTS..., or find_layout SCRIPT layout: how many nodes, tasks and GPUs, the port where
# ranks meet, and the run folder; by pretrain/layout.py, which every way to start a run asks. A mistake in the config
# ends the job here. Of a shell that was itself somebody's rank nothing is passed on: it would speak for every task.
find_layout() {
    local layout script=$1
    shift
    nodes="" tasks="" gpus="" folder=""
    unset RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE LOCAL_SIZE NODES NODE_RANK RANKS_PER_NODE MASTER_PORT
    find_address
    export MASTER_ADDR
    layout=$(
        export SLURM_JOB_NUM_NODES=${SLURM_JOB_NUM_NODES:-$(asked_for "$script" nodes 1)}
        [[ -n "${SLURM_JOB_ID:-}" ]] || export SLURM_GPUS_PER_NODE=${SLURM_GPUS_PER_NODE:-$(asked_for "$script" gpus-per-node 0)}
        "$python" "$launch_folder/ranks.py" --shell "$@"
    ) || exit $?
    eval "$layout"
    [[ -n "${SLURM_JOB_NODELIST:-}" ]] || MASTER_PORT="(10000 + job id % 20000)"
    export MASTER_PORT PYTHONUNBUFFERED=1
}

# IMAGE: the ranks run in it (docker/Dockerfile), from this folder, which they see under its own name, and with what
# MOUNTS adds (/from:/to,...). A .sif is apptainer's; anything else is handed to srun, for pyxis.
find_image() {
    start=("$python" "$launch_folder/pretrain.py") options_of_image=()
    [[ -n "${IMAGE:-}" ]] || return 0
    local mounts="$PWD:$PWD${MOUNTS:+,$MOUNTS}"
    start=(python /pretrain/launch/pretrain.py)
    case $IMAGE in
        *.sif)
            [[ -f "$IMAGE" ]] || { say "IMAGE: there is no $IMAGE."; exit 2; }
            start=(apptainer exec --bind "$mounts" --pwd "$PWD" "$IMAGE" "${start[@]}")
            ((gpus == 0)) || start=("${start[@]:0:2}" --nv "${start[@]:2}") ;;
        *) options_of_image=(--container-image="$IMAGE" --container-mounts="$mounts" --container-workdir="$PWD") ;;
    esac
}

# srun gives a task one core, unless told: the smallest node's share.
count_cpus() {
    local fewest
    fewest=$(tr ',' '\n' <<<"${SLURM_JOB_CPUS_PER_NODE:-}" | sed 's/(.*//' | sort -n | head -n 1)
    cpus=${SLURM_CPUS_PER_TASK:-$((${fewest:-0} / tasks))}
    ((cpus > 0)) || cpus=1
}

# The first node, by the address that Slurm itself uses where its name says nothing to others.
find_address() {
    MASTER_ADDR="(first node of the job)"
    [[ -n "${SLURM_JOB_NODELIST:-}" ]] || return 0
    read -r MASTER_ADDR < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
    if ! getent hosts "$MASTER_ADDR" >/dev/null; then
        MASTER_ADDR=$(scontrol show node "$MASTER_ADDR" | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')
    fi
}

# Sets `arguments`: all but --dry-run, which is answered with "yes" in `dry`, and --help, which is answered here.
take_arguments() {
    local script=$1 word
    shift
    dry="" arguments=()
    for word in "$@"; do
        case $word in
            -h | --help) help_of "$script"; exit 0 ;;
            --dry-run) dry=yes ;;
            *) arguments+=("$word") ;;
        esac
    done
}

# What would be started, as lines for a shell; nothing where nobody asked.
show_if_dry() {
    [[ -n "$dry" ]] || return 0
    printf '%s\n' "$@" "export PATH=${PATH@Q}" "${command[*]@Q}" | sed "s/'\([A-Za-z0-9_.,:=/%+-]*\)'/\1/g"
    exit 0
}

# Where there is no job there is no srun either.
refuse_outside() {
    [[ -z "${SLURM_JOB_ID:-}" ]] || return 0
    say "Outside a job: start it with sbatch, or add --dry-run to see what it would start."
    exit 2
}

prepare() {
    local script=$1 folder
    take_arguments "$@"
    find_python
    find_layout "$script" run "${arguments[@]}"
    count_cpus
    find_image
    command=(srun --nodes="$nodes" --ntasks-per-node="$tasks")
    [[ -z "${SLURM_JOB_ID:-}" ]] || command+=(--cpus-per-task="$cpus")
    # a rank that ends with an error is not the end of the others: they say why, and their code is the job's
    command+=(--export=ALL --kill-on-bad-exit=0 --wait="$JOINT_SECONDS")
    ((gpus == 0)) || command+=(--gpu-bind=none) # a rank picks its GPU by its number on the node, so it sees all
    command+=("${options_of_image[@]}" "${start[@]}" "${arguments[@]}")
    show_if_dry "# $((nodes * tasks)) ranks on $nodes nodes; the run folder is $folder" \
        "export MASTER_ADDR=${MASTER_ADDR@Q} MASTER_PORT=${MASTER_PORT@Q} PYTHONUNBUFFERED=1"
    refuse_outside
}

# A part of a sweep: `prepare_part SCRIPT SWEEP.yaml ...`
prepare_part() {
    local part=${SLURM_ARRAY_TASK_ID:-I} parts=${PARTS:-${SLURM_ARRAY_TASK_MAX:-N}}
    take_arguments "$@"
    find_python
    find_layout "$1" layout
    ((gpus == 0)) || [[ " ${arguments[*]} " == *" --jobs"* ]] || arguments+=(--jobs "$gpus") # a run a GPU
    find_package
    command=(srun --nodes=1 --ntasks=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --export=ALL)
    command+=("$python" -m pretrain.cli sweep "${arguments[@]}" --part "$part/$parts")
    show_if_dry "export PYTHONUNBUFFERED=1 PYTHONPATH=${PYTHONPATH@Q}"
    refuse_outside
    [[ "$part" != I ]] || { say "Not an array: sbatch --array=1-8 ..., so that there are parts."; exit 2; }
}
