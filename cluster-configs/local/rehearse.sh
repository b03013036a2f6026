#!/usr/bin/env bash
# A rehearsal on one machine: two Ray nodes with a token and an S3 bucket over HTTP. Trains, loses
# a node meanwhile, denoises, stops, resumes, and reads the result by anndata alone.
#
#   pip install --constraint constraints.txt -e '.[dev]'   # Ray Jobs, and moto for the bucket
#   bash cluster-configs/local/rehearse.sh                 # ports: RAY_PORT DASHBOARD_PORT S3_PORT
#
# Every command is printed before it runs. All that it writes lies in a new folder, its home, which
# is deleted in the end; `ray stop` is not used, as it would end other people's nodes too.
set -euo pipefail

ray_port=${RAY_PORT:-6379} dashboard_port=${DASHBOARD_PORT:-8265} s3_port=${S3_PORT:-5000}
HOME=$(mktemp -d /tmp/ab-XXXXXX) # short: Ray's sockets lie below it
export HOME RAY_TMPDIR=$HOME
export RAY_AUTH_MODE=token RAY_ADDRESS=http://127.0.0.1:$dashboard_port
export AWS_ENDPOINT_URL=http://127.0.0.1:$s3_port AWS_DEFAULT_REGION=us-east-1
export AWS_ACCESS_KEY_ID=owner AWS_SECRET_ACCESS_KEY=owner
cd "$HOME"

say() { printf '\n[%4d s] $ %s\n' "$SECONDS" "$*"; "$@"; }

family() { # a process and all below it
    local child
    for child in $(pgrep -P "$1"); do family "$child"; done
    echo "$1"
}

lose() { # at once, as when a machine is taken away
    # shellcheck disable=SC2046 # one word per process
    kill -9 $(family "$1") 2> nothing || true
}

finish() {
    local process
    for process in "${worker:-}" "${head:-}" "${bucket:-}"; do
        [ -z "$process" ] || lose "$process"
    done
    cd / && rm -rf "$HOME"
}
trap finish EXIT

node() { # a node of one core that runs until it is lost
    printf '\n[%4d s] $ ray start --block %s &\n' "$SECONDS" "$*"
    ray start --block --num-cpus=1 --object-store-memory=80000000 --disable-usage-stats "$@" \
        > "node-$RANDOM.log" 2>&1 &
}

until_logged() { # the job's log has the pattern
    until atlasbasset logs "$1" 2> nothing | grep -q "$2"; do sleep 1; done
}

job_of() { sed -n 's/^job \([^:]*\):.*/\1/p' "$1" | head -1; }

moto_server -H 127.0.0.1 -p "$s3_port" > bucket.log 2>&1 &
bucket=$!
until python -c "import s3fs; s3fs.S3FileSystem().mkdir('bucket')" 2> nothing; do sleep 1; done

(umask 077 && say ray get-auth-token --generate > nothing)
node --head --port="$ray_port" --node-ip-address=127.0.0.1 --dashboard-host=127.0.0.1 \
    --dashboard-port="$dashboard_port"
head=$!
until atlasbasset resources > nothing 2>&1; do sleep 1; done
node --address="127.0.0.1:$ray_port"
worker=$!
until [ "$(atlasbasset resources | grep -cE ' (head|worker) ')" = 2 ]; do sleep 1; done
say atlasbasset resources

say atlasbasset simulate sim --cells 400 --peaks 600 --density 0.2
say atlasbasset preprocess sim/counts.h5ad --genome sim/genome.fa --out s3://bucket/atlas.zarr

train=(atlasbasset submit -- train s3://bucket/atlas.zarr --out s3://bucket/model.zarr
    --workers 2 --epochs 6)
say "${train[@]}" > train.log 2>&1 &
following=$!
until grep -q ' 2/6' train.log; do
    kill -0 "$following" || { cat train.log; exit 1; }
    sleep 1
done
printf '\n[%4d s] $ kill -9 WORKER NODE; ray start ...   # after epoch 2 of 6\n' "$SECONDS"
lose "$worker"
node --address="127.0.0.1:$ray_port"
worker=$!
wait "$following"
cat train.log

denoise=(atlasbasset submit -- denoise s3://bucket/model.zarr s3://bucket/atlas.zarr
    --out s3://bucket/denoised.zarr --workers 2)
say "${denoise[@]:0:2}" --detach "${denoise[@]:2}" | tee denoise.log
job=$(job_of denoise.log)
until_logged "$job" 'preflight: passed'
say atlasbasset stop "$job"
say "${denoise[@]}"
say atlasbasset status

cat > read.py << 'PYTHON'
import anndata, s3fs, sys, zarr
store = zarr.storage.FsspecStore.from_url("s3://bucket/denoised.zarr", read_only=True)
print(anndata.read_zarr(zarr.open_group(store, mode="r")))
print("imported of ours:", [name for name in sys.modules if name.startswith("atlas")])
PYTHON
say python read.py
printf '\n[%4d s] done\n' "$SECONDS"
