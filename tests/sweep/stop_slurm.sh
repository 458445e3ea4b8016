#!/usr/bin/env bash
# Ends the SLURM that start_slurm.sh started, and its jobs: stop_slurm.sh FOLDER
export SLURM_CONF=$1/slurm.conf

if timeout 10 scancel --user="$(id -un)" 2>/dev/null; then
    for _ in $(seq 100); do
        [ -z "$(timeout 10 squeue --noheader 2>/dev/null)" ] && break
        sleep 0.2
    done
fi
for name in slurmd slurmctld munged; do
    pid=$(cat "$1/$name.pid" 2>/dev/null) || continue
    kill "$pid" 2>/dev/null
    for _ in $(seq 50); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null
done
exit 0
