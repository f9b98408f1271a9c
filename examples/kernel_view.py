"""Does fine-tuning behave like its kernel? The report of Malladi et al.'s tests, on few rows of the demo.

Printed with pocket on PyTorch (TensorFlow compiles more than twice as long as all of it takes there):

    accuracy: 0.23 at the start
    sgd: 1.00, its linear model 1.00
      gradients moved by 0.38, the kernel by 0.10
    sgd kernel: 0.98 by KernelLeastSquares
    signgd kernel: 0.96 by KernelLeastSquares
    asymmetric-signgd kernel: 1.00 by AsymmetricLeastSquaresSVM
    sgd: the kernel view holds
"""

import tempfile

import lpft_keras

with tempfile.TemporaryDirectory() as folder:
    settings = {"epochs": 10, "max_length": 48, "output_dir": folder, "show_progress": False}
    view = lpft_keras.kernel_view("demo", "ft", shots=16, rows=48, optimizers=["sgd"], **settings)
    report = view.report
    print(f"accuracy: {report['start']['accuracy']:.2f} at the start")
    for optimizer, tuned in report["fine_tuning"].items():
        linear, fixed = report["linear"][optimizer], report["fixed_features"][optimizer]
        print(f"{optimizer}: {tuned['accuracy']:.2f}, its linear model {linear['accuracy']:.2f}")
        print(f"  gradients moved by {fixed['gradient']:.2f}, the kernel by {fixed['kernel_frobenius']:.2f}")
    for kind, kernel in report["kernels"].items():
        print(f"{kind} kernel: {kernel['accuracy']:.2f} by {kernel['solver']['name']}")
    for optimizer, verdict in report["verdict"].items():
        print(f"{optimizer}: {verdict['words']}")
