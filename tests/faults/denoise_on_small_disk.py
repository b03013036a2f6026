"""Denoise onto a disk that is too small, then onto a larger one: FOLDER of the stores, MOUNT.

Run by ``unshare`` in a mount namespace of its own. Prints what went wrong, then checksums as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import atlasbasset
from atlasstore.resume.ledger import partial_url
from denoise_process import OPTIONS, small_units
from store_bits import stored

if __name__ == "__main__":
    folder, disk = sys.argv[1:]
    stores = (f"{folder}/model", f"{folder}/atlas")
    out = f"{disk}/r"
    small_units()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192k", "none", disk], check=True)
    try:
        atlasbasset.denoise(*stores, out=out, **OPTIONS)
    except OSError as error:
        print(f"{error.errno} {error}")
    print(len(list(Path(partial_url(out), "ledger").rglob("*.json"))), Path(out).exists())
    subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
    atlasbasset.denoise(*stores, out=out, **OPTIONS)
    print(json.dumps(stored(out)))
