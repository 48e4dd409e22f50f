#!/bin/bash
cd /root/next; PYTHONPATH=/root/next/.venv/typing OMP_NUM_THREADS=1 timeout 580 nice -n 19 /work/main/.venv/bin/python -P -m pytest -q -n0 -p no:cacheprovider "$@" 2>&1 | tail -${TAIL:-15}
