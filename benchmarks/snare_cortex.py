"""Turn public labelled cells into .h5ad: SNARE-seq of adult mouse cortex (Chen et al. 2019).

The counts are those that scMoMaT (https://github.com/PeterZZQ/scMoMaT, MIT) gives beside its code:
10,309 nuclei x 25,734 peaks (mm10) linked to 1,677 genes. Labels are the authors' clusters of the
same nuclei's RNA, so not of what is measured here; "Mis", miscellaneous, is left out, as are nuclei
with few open peaks. The genome is not needed for what is compared without sequences.

    git clone https://github.com/PeterZZQ/scMoMaT
    python benchmarks/snare_cortex.py scMoMaT snare_cortex.h5ad [--least 100]
    python benchmarks/embedding_quality.py snare_cortex.h5ad --label-key cell_type
"""

from __future__ import annotations

import argparse
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

FOLDER = Path("data/real/MOp_5batches")


def read(clone: Path) -> anndata.AnnData:
    """Read counts, labels and peaks of the nuclei that have both halves."""
    counts = sp.csr_array(sp.load_npz(clone / FOLDER / "RxC1.npz").T)
    meta = pd.read_csv(clone / FOLDER / "meta_c1.csv", index_col=0)
    regions = (clone / FOLDER / "regions.txt").read_text().split()
    obs = pd.DataFrame({"cell_type": pd.Categorical(meta["Ident"])}, index=meta.index.astype(str))
    names = [region.replace("_", ":", 1).replace("_", "-", 1) for region in regions]
    return anndata.AnnData(counts.astype(np.float32), obs=obs, var=pd.DataFrame(index=names))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clone", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--least", type=int, default=100, help="open peaks of a nucleus")
    args = parser.parse_args()
    found = read(args.clone)
    kept = ((found.X != 0).sum(1) >= args.least) & (found.obs["cell_type"] != "Mis").to_numpy()
    found = found[np.flatnonzero(kept)].copy()
    found.write_h5ad(args.out)
    print(found, found.obs["cell_type"].value_counts(), sep="\n")


if __name__ == "__main__":
    main()
