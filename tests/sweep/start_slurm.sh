#!/usr/bin/env bash
# A SLURM of one node on this machine, for tests: start_slurm.sh FOLDER [PORT]
#
# Keeps all of its files in FOLDER, listens on 127.0.0.1 alone (PORT and the one after it), and
# leaves a SLURM that is configured on the machine as it is. Prints the path that SLURM_CONF has to
# have; FOLDER/bin belongs in front of PATH. Called again, it does nothing while that SLURM answers.
# `stop_slurm.sh FOLDER` ends it.
# Needs Debian's packages slurm-wlm and munge.
set -euo pipefail
folder=$(realpath -m "$1")
port=${2:-26817}
export PATH=$PATH:/usr/sbin:/sbin
export SLURM_CONF=$folder/slurm.conf

for command in munged slurmctld slurmd sbatch squeue; do
    if ! command -v "$command" >/dev/null; then
        echo "$command is not installed: apt-get install slurm-wlm munge" >&2
        exit 1
    fi
done

is_up() { [ -f "$SLURM_CONF" ] && [ "$(timeout 10 sinfo --noheader --format=%T 2>/dev/null | head -n 1)" = "${1:-idle}" ]; }

if is_up idle || is_up mixed || is_up allocated; then
    echo "$SLURM_CONF"
    exit
fi

mkdir -p "$folder"/{spool,state,log}
chmod 755 "$folder"
if [ ! -f "$folder/munge.key" ]; then
    (umask 077 && head -c 1024 /dev/urandom >"$folder/munge.key")
fi
host=$(hostname -s)
# cred_expire: a job that is put back into the queue waits for so many seconds; else 120.
# config_overrides: more cores, memory and GPUs than there may be, so that jobs run side by side.
# urgent: its jobs preempt those of main, as on a real cluster.
cat >"$SLURM_CONF" <<CONF
ClusterName=flowguide
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1
KillWait=2
ReturnToService=2
SlurmdParameters=config_overrides
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld
SlurmdLogFile=$folder/log/slurmd
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 RealMemory=8000 Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES PriorityTier=1 State=UP
PartitionName=urgent Nodes=$host PriorityTier=2 State=UP
CONF
echo "NodeName=$host Name=gpu File=/dev/null" >"$folder/gres.conf"
# Snakemake's executor takes SLURM_CONF away from what it starts on a node.
mkdir -p "$folder/bin"
for command in srun scontrol; do
    printf '#!/bin/sh\nSLURM_CONF=%s exec %s "$@"\n' "$SLURM_CONF" "$(command -v $command)" >"$folder/bin/$command"
    chmod +x "$folder/bin/$command"
done

munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
    --pid-file="$folder/munged.pid" --log-file="$folder/log/munged" \
    --seed-file="$folder/munge.seed" >&2 || true # One that runs already says no.
slurmctld -f "$SLURM_CONF" >&2 || true
slurmd -f "$SLURM_CONF" >&2 || true
for _ in $(seq 100); do
    if is_up; then
        echo "$SLURM_CONF"
        exit
    fi
    sleep 0.2
done
echo "SLURM does not start; the ends of its logs:" >&2
tail -n 5 "$folder"/log/* >&2
exit 1
