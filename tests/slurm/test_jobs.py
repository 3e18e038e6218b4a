"""Runs as jobs of a real Slurm on two nodes: whatever happens to the job, the run is the one left alone."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta

import pytest
from cluster import SCRIPTS, Cluster
from queued import Job, asked
from trial import UPDATES, RunFiles

pytestmark = [pytest.mark.dist, pytest.mark.timeout(400)]
TORCH = "run.engine=torch"
TWO = "--nodes=2"


def preemptible(cluster: Cluster, name: str, *words: str, options: tuple[str, ...] = ()) -> Job:
    arguments = ("--config", "dense.yaml", f"run.name={name}", TORCH, *words)
    return cluster.submit("preemptible.sbatch", *arguments, options=(TWO, *options))


def stopped(run: RunFiles, words: str) -> None:
    """It was saved where it stopped, and says that it is to be continued."""
    status = run.status
    assert status["state"] == "continue"
    assert words in status["reason"] or status["reason"] == "another rank asked to stop"
    assert f"step_{status['step']:08d}" in run.checkpoints
    assert status["step"] == len(run.lines(kind="train")) < UPDATES


def test_a_job_finds_its_gpus_its_cores_and_where_to_meet(cluster: Cluster) -> None:
    dry = ("--dry-run", "--config", "dense.yaml")
    where = ("--partition=gpu", "--gpus-per-node=2")
    job = cluster.submit("one_node.sbatch", *dry, options=where, MASTER_ADDR="elsewhere")
    job.until("COMPLETED")
    assert "srun --nodes=1 --ntasks-per-node=2 --cpus-per-task=1" in job.output
    assert "--gpu-bind=none" in job.output
    assert f"MASTER_ADDR=127.0.0.1 MASTER_PORT={10000 + job.number % 20000}" in job.output
    assert "# 2 ranks on 1 nodes" in job.output


def test_jobs_of_one_name_come_one_after_another(cluster: Cluster) -> None:
    chain = ("--dependency=singleton", "--job-name=first", "--nodes=1")
    dry = ("many_nodes.sbatch", "--dry-run", "--config", "dense.yaml")
    jobs = [cluster.submit(*dry, options=chain) for _ in range(2)]
    assert str(jobs[-1].number) in cluster.ask("squeue", "--me", check=True)
    first, second = (job.until("COMPLETED") for job in jobs)
    assert first["EndTime"] <= second["StartTime"]


def test_an_array_shares_a_sweep(cluster: Cluster) -> None:
    small = ("--array=1-2", "--cpus-per-task=1", "--mem=100M", "--output=part-%a.log")
    cluster.submit("sweep.sbatch", "lr.yaml", "--dry-run", options=small)
    cluster.until_empty()
    for part in (1, 2):
        output = (cluster.trial.folder / f"part-{part}.log").read_text()
        assert f"-m pretrain.cli sweep lr.yaml --part {part}/2" in output


def test_two_nodes_train_one_run(cluster: Cluster) -> None:
    run = cluster.left_alone(TORCH)
    assert len(run.losses) == UPDATES
    start = run.lines("events.jsonl")[0]
    assert start["event"] == "start"
    assert not asked(run)


@pytest.mark.slow
def test_a_job_that_another_pushes_aside_is_the_run_left_alone(cluster: Cluster) -> None:
    whole, run = cluster.left_alone(TORCH), cluster.trial.files("preempted")
    job = preemptible(cluster, "preempted")
    job.until_step(run, 4)
    urgent = cluster.submit("many_nodes.sbatch", "--help", options=(TWO, "--partition=urgent"))
    urgent.until("COMPLETED")
    stopped(run, "SIGTERM")
    assert job.until("COMPLETED")["Restarts"] == "1"
    assert run.metrics == whole.metrics
    assert run.status["state"] == "finished"
    assert not asked(run)


SWEEP = """\
name: pair
base: dense.yaml
grid: {schedule.lr_max: [0.01, 0.005]}
budgets: [20480]
"""


@pytest.mark.slow
def test_the_parts_of_a_sweep_are_the_sweep(cluster: Cluster) -> None:
    (cluster.trial.folder / "pair.yaml").write_text(SWEEP)
    small = ("--array=1-2", "--cpus-per-task=1", "--mem=100M")
    job = cluster.submit("sweep.sbatch", "pair.yaml", TORCH, options=small)
    cluster.until_empty()
    with (cluster.trial.folder / "sweeps" / "pair" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["finished", "finished"], job.output
    assert {float(row["schedule.lr_max"]) for row in rows} == {0.01, 0.005}


@pytest.mark.slow
def test_a_job_queued_again_by_hand_is_the_run_left_alone(cluster: Cluster) -> None:
    whole, run = cluster.left_alone(TORCH), cluster.trial.files("by-hand")
    job = preemptible(cluster, "by-hand")
    job.until_step(run, 4)
    cluster.ask("scontrol", "requeue", str(job.number), check=True)
    job.until("PENDING")
    stopped(run, "SIGTERM")
    assert job.until("COMPLETED")["Restarts"] == "1"
    assert run.metrics == whole.metrics


@pytest.mark.slow
def test_an_early_signal_saves_and_queues_the_job_again(cluster: Cluster) -> None:
    whole, run = cluster.left_alone(TORCH), cluster.trial.files("early")
    job = preemptible(cluster, "early")
    job.until_step(run, 4)
    cluster.ask("scancel", "--signal=USR1", str(job.number), check=True)
    assert job.until("COMPLETED")["Restarts"] == "1"
    assert run.metrics == whole.metrics
    assert [(line["code"], line["job"]) for line in asked(run)] == [(0, job.number)]
    assert "the same command continues" in job.output


@pytest.mark.slow
def test_the_signal_before_the_time_limit_saves_in_time(cluster: Cluster) -> None:
    run = cluster.trial.files("limited")
    words = ("--config", "dense.yaml", "run.name=limited", TORCH, "stages.0.tokens=20M")
    job = cluster.submit("many_nodes.sbatch", *words, options=(TWO, "--time=20", "--signal=USR1@60"))
    job.until_step(run, 4)
    end = datetime.now() + timedelta(seconds=75)  # Slurm looks every half a minute
    cluster.ask("scontrol", "update", f"JobId={job.number}", f"EndTime={end:%Y-%m-%dT%H:%M:%S}", check=True)
    assert job.until("COMPLETED", "TIMEOUT", "FAILED")["JobState"] == "COMPLETED", job.output
    assert run.status["state"] == "continue"
    assert "SIGUSR1" in run.status["reason"] or run.status["reason"] == "another rank asked to stop"
    assert run.checkpoints[-1] == f"step_{run.status['step']:08d}"


@pytest.mark.slow
def test_scancel_leaves_a_run_that_can_be_continued(cluster: Cluster) -> None:
    whole, run = cluster.left_alone(TORCH), cluster.trial.files("cancelled")
    job = preemptible(cluster, "cancelled")
    job.until_step(run, 4)
    cluster.ask("scancel", str(job.number), check=True)
    job.until("CANCELLED")
    cluster.until_idle()
    stopped(run, "SIGTERM")
    assert not asked(run)
    preemptible(cluster, "cancelled").until("COMPLETED")
    assert run.metrics == whole.metrics


@pytest.mark.slow
def test_a_job_that_loses_a_node_goes_on_when_it_is_back(cluster: Cluster) -> None:
    whole, run = cluster.left_alone(TORCH), cluster.trial.files("bereft")
    mine = cluster.trial.folder / "mine.sbatch"  # as one edits it for nodes without GPUs
    lines = (SCRIPTS / "preemptible.sbatch").read_text().splitlines(keepends=True)
    mine.write_text("".join(line for line in lines if "--gpus-per-node=" not in line))
    words = ("--config", "dense.yaml", "run.name=bereft", TORCH, "checkpoint.every_steps=3")
    job = cluster.submit(mine, *words, options=(TWO,), PRETRAIN_SLURM=str(SCRIPTS))
    job.until_step(run, 8)
    cluster.kill_node("n2")
    job.until("PENDING")
    cluster.start_node("n2")
    assert job.until("COMPLETED")["Restarts"] == "1"
    assert run.metrics == whole.metrics


@pytest.mark.slow
def test_sharded_by_deepspeed_the_same_holds(cluster: Cluster) -> None:
    zero = "deepspeed.zero_optimization.stage=1"
    whole, run = cluster.left_alone(zero), cluster.trial.files("sharded")
    arguments = ("--config", "dense.yaml", "run.name=sharded", zero)
    job = cluster.submit("preemptible.sbatch", *arguments, options=(TWO,))
    job.until_step(run, 4)
    cluster.ask("scontrol", "requeue", str(job.number), check=True)
    assert job.until("COMPLETED")["Restarts"] == "1"
    assert run.metrics == whole.metrics
