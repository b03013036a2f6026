#!/bin/bash
# `atlasbasset $VERB` in a Slurm allocation: Ray starts on its nodes, the command runs, all ends.
# Printed by `atlasbasset submit --as slurm`. Change before use: partition, memory, time, and how
# the environment with atlasbasset is activated. The nodes must share the home directory.
#SBATCH --job-name=$NAME
#SBATCH --nodes=$NODES
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=$CPUS
$GPU_LINE#SBATCH --mem=$MEMORY
#SBATCH --time=24:00:00
# Two minutes before the time is over, and where a node is wanted by others: the verb writes a
# checkpoint, and the job is queued again.
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

# source ~/atlasbasset/bin/activate
$EXPORTS
# A token of this job alone, readable by its owner only: without it nobody on the cluster's network
# can use this Ray.
umask 077
export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN_PATH="$${HOME}/.ray/slurm-$${SLURM_JOB_ID}.token"
mkdir -p "$${HOME}/.ray"
python -c 'import secrets; print(secrets.token_hex(32))' > "$${RAY_AUTH_TOKEN_PATH}"

mapfile -t nodes < <(scontrol show hostnames "$${SLURM_JOB_NODELIST}")
head="$${nodes[0]}"
ip=$$(srun --overlap --nodes=1 --ntasks=1 --nodelist="$${head}" hostname --ip-address | awk '{print $$1}')
# Other jobs may run a Ray on the same node.
port=$$((20000 + SLURM_JOB_ID % 20000))
resources=(--num-cpus="$${SLURM_CPUS_PER_TASK}" --num-gpus=$GPUS --disable-usage-stats --block)

# shellcheck disable=SC2329  # called by the trap
end() {
  jobs -p | xargs -r kill 2> /dev/null || true
  rm -f "$${RAY_AUTH_TOKEN_PATH}"
}
trap end EXIT

# No dashboard: nothing listens but Ray itself, which asks for the token.
srun --overlap --nodes=1 --ntasks=1 --nodelist="$${head}" \
  ray start --head --node-ip-address="$${ip}" --port="$${port}" --include-dashboard=false \
  "$${resources[@]}" &
until ray health-check --address "$${ip}:$${port}" > /dev/null 2>&1; do
  sleep 1
done
for node in "$${nodes[@]:1}"; do
  srun --overlap --nodes=1 --ntasks=1 --nodelist="$${node}" \
    ray start --address="$${ip}:$${port}" "$${resources[@]}" &
done

export RAY_ADDRESS="$${ip}:$${port}"
$ENTRYPOINT &
verb=$$!
asked_to_end=
trap 'asked_to_end=1; kill -TERM "$${verb}"' TERM
code=0
wait "$${verb}" || code=$$?
if [[ -n "$${asked_to_end}" ]]; then
  # The signal ended the first wait; the verb is writing.
  wait "$${verb}" || code=$$?
  scontrol requeue "$${SLURM_JOB_ID}"
fi
exit "$${code}"
