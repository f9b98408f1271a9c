"""A sweep on Dask: here two processes of this machine; on a cluster, give `Client` the address of its scheduler.

Printed with pocket on TensorFlow:

    4 runs done, 0 failed
    **pocket trained on demo: accuracy (%)**

    | method | demo (ID) | ood |
    | :-- | --: | --: |
    | LP | 98.33±0.00 | 91.67±0.00 |
    | LP-FT | 98.33±0.00 | 90.83±1.18 |

    mean ± standard deviation over 2 seeds
"""

import tempfile

import joblib
from dask.distributed import Client, LocalCluster

import lpft_keras
from lpft_keras.report import as_markdown, result_tables

if __name__ == "__main__":  # each process that Dask starts imports this file
    with (
        # On a cluster: a folder that all workers see.
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
        joblib.parallel_config("dask"),
    ):
        options = {"backbones": "pocket", "limit": 60, "epochs": 1, "output_dir": folder}
        found = lpft_keras.sweep("demo", ["lp", "lp-ft"], seeds=[1001, 2002], **options)
        # What fails is reported and stops nothing else.
        print(f"{len(found.results)} runs done, {len(found.failures)} failed")
        print(as_markdown(result_tables(found.results)))
