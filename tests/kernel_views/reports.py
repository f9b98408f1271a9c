"""A made-up report of a kernel view, in the form that `kernel_view.json` has."""

import copy

_KERNEL = {
    "accuracy": 0.7,
    "logit_accuracy": 0.8,
    "validation_accuracy": 0.75,
    "solver": {"name": "KernelLeastSquares", "f0_scaling": "inf", "regularization": 0.01},
}
_REPORT = {
    "task": "demo",
    "method": "lp-ft",
    "backbone": "tiny",
    "seed": 13,
    "prompt": None,
    "shots": 4,
    "rows": {"train": 12, "validation": 11, "test": 10},
    "classes": 3,
    "start": {"accuracy": 0.5, "head_norm": 1.25},
    "fine_tuning": {},
    "kernels": {
        "sgd": {
            **_KERNEL,
            "gradient_flow": {"accuracy": 0.65, "time": 31.4},
            "largest_learning_rate": 0.0625,
        },
        "signgd": _KERNEL,
        "asymmetric-signgd": {
            **_KERNEL,
            "solver": {"name": "AsymmetricLeastSquaresSVM", "f0_scaling": 10.0, "gamma": 1.0, "mixing": 0.5},
        },
    },
    "linear": {},
    "fixed_features": {},
    "first_step": {
        "sgd": {
            "steps": [
                {"learning_rate": 0.1, "features": 0.2, "logits": 0.123},
                {"learning_rate": 0.01, "features": 0.02, "logits": 0.0123},
            ],
            "shares": {"pretrain": 0.9, "finetune": 0.2},
        },
        "signgd": {
            "steps": [{"learning_rate": 0.001, "features": None, "logits": 0.3}],
            "shares": {"pretrain": None, "finetune": None},
        },
    },
    "theory": {
        "lp_optimum_gap": 3e-5,
        "low_rank": {"expected": 0.0833, "factor": 0.0855, "deviation": 0.0123, "distance": 0.187},
    },
    "verdict": {},
}


def report(optimizer="sgd", tuned=0.8, linear=0.7, share=None, gradient=0.5, **kernels):
    """Return a report of one fine-tuning; `kernels` are accuracies (test, validation) by kind, "_" in place of "-"."""
    made = copy.deepcopy(_REPORT)
    made["fine_tuning"][optimizer] = {"accuracy": tuned, "learning_rate": 0.03, "directory": "runs/demo"}
    made["linear"][optimizer] = {"accuracy": linear, "gain_recovered": share}
    made["fixed_features"][optimizer] = {
        "gradient": gradient,
        "kernel_frobenius": 0.31,
        "kernel_elementwise": 0.42,
        "kernel_elementwise_median": 0.41,
    }
    for name, found in kernels.items():
        test, validation = found if isinstance(found, tuple) else (found, found)
        made["kernels"][name.replace("_", "-")] |= {"accuracy": test, "validation_accuracy": validation}
    return made
