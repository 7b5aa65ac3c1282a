"""The messages of the protocol, described here and made at import: no generated code.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_grpc.md

The descriptors stand in a pool of their own, so that a client library which brings its own
description of the same messages can be used in the same process.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "inference.GRPCInferenceService"
# One line for a message: its name, then `number name type`; `*` repeats, `|` is one of several.
# A map is what it is on the wire: a repeated pair of key and value.
TEXT = """
ServerLiveRequest
ServerLiveResponse: 1 live bool
ServerReadyRequest
ServerReadyResponse: 1 ready bool
ModelReadyRequest: 1 name string, 2 version string
ModelReadyResponse: 1 ready bool
ServerMetadataRequest
ServerMetadataResponse: 1 name string, 2 version string, 3 extensions *string
ModelMetadataRequest: 1 name string, 2 version string
ModelMetadataResponse: 1 name string, 2 versions *string, 3 platform string, 4 inputs \
*TensorMetadata, 5 outputs *TensorMetadata
TensorMetadata: 1 name string, 2 datatype string, 3 shape *int64
Value: 1 bool_param |bool, 2 int64_param |int64, 3 string_param |string, 4 double_param |double, \
5 uint64_param |uint64
Parameter: 1 key string, 2 value Value
ModelInferRequest: 1 model_name string, 2 model_version string, 3 id string, 4 parameters \
*Parameter, 5 inputs *Tensor, 6 outputs *WantedOutput, 7 raw_input_contents *bytes
ModelInferResponse: 1 model_name string, 2 model_version string, 3 id string, 4 parameters \
*Parameter, 5 outputs *Tensor, 6 raw_output_contents *bytes
Tensor: 1 name string, 2 datatype string, 3 shape *int64, 4 parameters *Parameter, 5 contents \
Contents
WantedOutput: 1 name string, 2 parameters *Parameter
Contents: 1 bool_contents *bool, 2 int_contents *int32, 3 int64_contents *int64, 4 uint_contents \
*uint32, 5 uint64_contents *uint64, 6 fp32_contents *float, 7 fp64_contents *double, \
8 bytes_contents *bytes
"""

_Field = descriptor_pb2.FieldDescriptorProto
CHOICE = "choice"


def _describe() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="everfit/inference.proto", package="inference", syntax="proto3"
    )
    for line in TEXT.strip().splitlines():
        name, _, fields = line.partition(": ")
        message = file.message_type.add(name=name)
        for field in filter(None, fields.split(", ")):
            _add_field(message, *field.split())
    return file


def _add_field(message: Any, number: str, name: str, kind: str) -> None:
    many, one_of, kind = kind[0] == "*", kind[0] == "|", kind.lstrip("*|")
    label = _Field.LABEL_REPEATED if many else _Field.LABEL_OPTIONAL
    field = message.field.add(name=name, number=int(number), label=label)
    if kind[0].isupper():
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".inference.{kind}"
    else:
        field.type = _Field.Type.Value(f"TYPE_{kind.upper()}")
    if one_of:
        if not message.oneof_decl:
            message.oneof_decl.add(name=CHOICE)
        field.oneof_index = 0


_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(_describe().SerializeToString())


@cache
def message(name: str) -> Any:
    """Return the class of the message called ``name``."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"inference.{name}"))
