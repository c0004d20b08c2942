#!/bin/bash
#SBATCH --job-name=millrace
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
# A conversion on the nodes of a Slurm job, in folders that all of them share:
#
#   sbatch deploy/slurm.sh /shared/aloha /shared/out/aloha_gr1 --map aloha_to_gr1_rescaled
#
# The words are those of `millrace convert`. A job that is requeued continues where it stopped.
set -euo pipefail

nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
first=$(head -n 1 <<<"$nodes")
# Jobs that share a node have Rays of their own.
address=$first:$((20000 + SLURM_JOB_ID % 10000))
temporary=/tmp/ray_$SLURM_JOB_ID

start_ray() {
    local node=$1
    shift
    srun --overlap --nodes=1 --ntasks=1 --nodelist="$node" \
        ray start "$@" --num-cpus="$SLURM_CPUS_PER_TASK" --disable-usage-stats --block &
}

wait_for_nodes() {
    python3 - "$address" "$1" <<'PYTHON'
import sys
import time

import ray

address, num_nodes = sys.argv[1], int(sys.argv[2])
deadline = time.monotonic() + 300
while True:
    try:
        ray.init(address, log_to_driver=False, logging_level="ERROR")
        if sum(node["Alive"] for node in ray.nodes()) >= num_nodes:
            break
    except ConnectionError:
        pass
    ray.shutdown()
    if time.monotonic() > deadline:
        sys.exit(f"{address}: not all of {num_nodes} nodes came up within 5 minutes")
    time.sleep(2)
PYTHON
}

start_ray "$first" --head --port="${address##*:}" --temp-dir="$temporary" --include-dashboard=false
wait_for_nodes 1
while read -r node; do
    start_ray "$node" --address="$address"
done < <(tail -n +2 <<<"$nodes")
wait_for_nodes "$SLURM_JOB_NUM_NODES"

# Slurm signals this process alone before the time limit, as `exec` leaves no shell in between.
exec millrace convert "$@" --address "$address"
