#!/bin/bash
# Trains on a Cloud TPU pod slice. Run it where gcloud is:
#
#   NAME=my-slice ZONE=us-east5-a launch/tpu_pod.sh install
#   NAME=my-slice ZONE=us-east5-a launch/tpu_pod.sh start
#   NAME=my-slice ZONE=us-east5-a launch/tpu_pod.sh log
#   NAME=my-slice ZONE=us-east5-a launch/tpu_pod.sh stop
#
# launch/README.md says what the slice must have.
set -euo pipefail

: "${NAME:?the name of the TPU slice}" "${ZONE:?its zone}"
REPOSITORY=${REPOSITORY:-$(git remote get-url origin 2>/dev/null || true)}
CONFIG=${CONFIG:-configs/dac_maskgit.py}
DATA=${DATA:-/shared/data}       # folders that all workers see, e.g. on Filestore
RUN=$(basename "${CONFIG/.py/}")
WORKDIR=${WORKDIR:-/shared/runs/${RUN//:/-}}
CODEC_BATCH=${CODEC_BATCH:-48}   # multiples of the number of chips
SLM_BATCH=${SLM_BATCH:-batch_size=128}  # not *_maskgit: frames_per_batch=48128

on() {  # runs a command on a worker: on WORKER COMMAND
  gcloud compute tpus tpu-vm ssh "$NAME" --zone="$ZONE" --worker="$1" --command="$2"
}

train() {  # prints the training command, quoted for a shell
  printf '%q ' python launch/main.py --config="$CONFIG" --workdir="$WORKDIR" \
    --coordinator=auto --config.data.source=folder --config.data.path="$DATA" \
    --config.codec_train.batch_size="$CODEC_BATCH" \
    --config.slm_train."$SLM_BATCH" "$@"
}

case "${1:-}" in
  install)
    : "${REPOSITORY:?where git finds jaxcodec}"
    on all "git clone $(printf %q "$REPOSITORY") jaxcodec && cd jaxcodec \
      && python3 -m venv .venv && . .venv/bin/activate \
      && pip install -e '.[all]' 'jax[tpu]'"
    ;;
  start)  # further arguments go to launch/main.py
    on all "cd jaxcodec && . .venv/bin/activate \
      && (nohup $(train "${@:2}") > train.log 2>&1 < /dev/null & echo \$! > train.pid)"
    ;;
  log) on 0 "tail -n 50 -F jaxcodec/train.log" ;;
  stop)  # by SIGTERM: all processes save and end
    on all "kill -TERM \$(cat jaxcodec/train.pid)"
    ;;
  *)
    echo "usage: NAME=... ZONE=... $0 install|start|log|stop" >&2
    exit 2
    ;;
esac
