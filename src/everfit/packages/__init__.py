"""Model packages: what a model takes and gives, the file it is kept in, and how that is opened."""

from everfit.packages.adapt import Adapted, ScoreTable, adapted
from everfit.packages.fitted import FittedModel, label_array
from everfit.packages.labels import label_text, label_texts
from everfit.packages.model import Field, Kind, Scalar, Signature
from everfit.packages.opening import open_outside, runs_code
from everfit.packages.outside import File, OutsideManifest, describe, is_outside, mlmodel_file
from everfit.packages.outside import decode as decode_outside
from everfit.packages.outside import encode as encode_outside
from everfit.packages.package import Manifest, pack, read_manifest, unpack
from everfit.packages.readable import FLAVOR, FOLDER, PACKAGE, readable
from everfit.packages.signature import cast, infer_signature

__all__ = [
    "FLAVOR",
    "FOLDER",
    "PACKAGE",
    "Adapted",
    "Field",
    "File",
    "FittedModel",
    "Kind",
    "Manifest",
    "OutsideManifest",
    "Scalar",
    "ScoreTable",
    "Signature",
    "adapted",
    "cast",
    "decode_outside",
    "describe",
    "encode_outside",
    "infer_signature",
    "is_outside",
    "label_array",
    "label_text",
    "label_texts",
    "mlmodel_file",
    "open_outside",
    "pack",
    "read_manifest",
    "readable",
    "runs_code",
    "unpack",
]
