"""One CUDA context for libav and torch: a second one takes half a gigabyte, and neither waits for the other's work.

Whoever comes first makes the device's primary context. libav wants it with CU_CTX_SCHED_BLOCKING_SYNC and refuses one
that has other flags ("Primary context already active with incompatible flags": cuda_context_init in FFmpeg 8.1's
libavutil/hwcontext_cuda.c), as torch's has, which sets none. So where torch came first, libav is given the context that
is current in the thread, by its option current_ctx (since libavutil 58.26), and leaves it alone when it is done with it
(cuda_device_uninit; also in the libraries of PyAV 16 and 18.1). Where libav came first, torch takes what it finds.
torchcodec does so (CudaDeviceInterface.cpp), and PyAV 18.1 for frames over torch's memory (pull request 2339).
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def shared_context(index: int) -> Iterator[dict[str, str]]:
    """libav's options for a card's context; its device must be opened within this block.

    PyAV sets primary_ctx by default, and libav takes only one of the two.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        yield {"primary_ctx": "1"}
        return
    with torch.cuda.device(index):
        torch.cuda.current_stream().query()  # any call of the runtime makes its context current in this thread
        yield {"primary_ctx": "0", "current_ctx": "1"}
