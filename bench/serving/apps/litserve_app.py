"""A model behind LitServe: ``python litserve_app.py MODEL PORT``."""

import sys
from typing import Any

import joblib
import litserve
import pandas as pd


class Scorer(litserve.LitAPI):  # type: ignore[misc]  # it is installed with the peer alone
    def setup(self, device: str) -> None:
        self.model = joblib.load(sys.argv[1])

    def decode_request(self, request: dict[str, Any]) -> pd.DataFrame:
        return pd.DataFrame(request["rows"])

    def predict(self, rows: pd.DataFrame) -> Any:
        return self.model.predict_proba(rows)

    def encode_response(self, output: Any) -> dict[str, list[list[float]]]:
        return {"probabilities": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Scorer(), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[2]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
