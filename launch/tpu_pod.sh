#!/bin/bash
# A training on a Cloud TPU pod slice, from a machine with gcloud:
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
DATA=${DATA:-/shared/data}       # folders that all workers see, e.g. of Filestore
WORKDIR=${WORKDIR:-/shared/runs/dac_maskgit}
CODEC_BATCH=${CODEC_BATCH:-144}  # multiples of the chips that share a batch
SLM_BATCH=${SLM_BATCH:-128}

on() {  # on WORKER COMMAND
  gcloud compute tpus tpu-vm ssh "$NAME" --zone="$ZONE" --worker="$1" --command="$2"
}

train() {
  printf '%q ' python launch/main.py --config="$CONFIG" --workdir="$WORKDIR" \
    --coordinator=auto --config.data.source=folder --config.data.path="$DATA" \
    --config.codec_train.batch_size="$CODEC_BATCH" \
    --config.slm_train.batch_size="$SLM_BATCH" "$@"
}

case "${1:-}" in
  install)
    : "${REPOSITORY:?where git finds jaxcodec}"
    on all "git clone $(printf %q "$REPOSITORY") jaxcodec && cd jaxcodec \
      && python3 -m venv .venv && . .venv/bin/activate \
      && pip install -e . 'jax[tpu]'"
    ;;
  start)  # further arguments are launch/main.py's
    on all "cd jaxcodec && . .venv/bin/activate \
      && (nohup $(train "${@:2}") > train.log 2>&1 < /dev/null & echo \$! > train.pid)"
    ;;
  log) on 0 "tail -n 50 -F jaxcodec/train.log" ;;
  stop)  # SIGTERM: all of them save and end
    on all "kill -TERM \$(cat jaxcodec/train.pid)"
    ;;
  *)
    echo "usage: NAME=... ZONE=... $0 install|start|log|stop" >&2
    exit 2
    ;;
esac
