"""The Open Inference Protocol, version 2, over gRPC; importing this needs ``everfit[grpc]``."""

from everfit.serving.rpc.server import RpcServer

__all__ = ["RpcServer"]
