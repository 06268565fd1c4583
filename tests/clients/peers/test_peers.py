"""Clients of other servers get the native client's vectors, and raise errors of their own types."""

import re
from typing import Any

import numpy as np
import pytest

from support.peer_clients import FOLDER, NPM, parameter, run, sets

OPENAI_ERRORS = {
    "too_long": ("openai.BadRequestError", "2048"),
    "token_ids": ("openai.BadRequestError", "check_embedding_ctx_length=False"),
    "wrong_token": ("openai.AuthenticationError", ""),
    "overload": ("openai.RateLimitError", ""),
}
HUB_ERROR = "huggingface_hub.errors.HfHubHTTPError"
HUB_ERRORS = {
    "too_long": (HUB_ERROR, "413 .*`inputs` must have less than 2048 tokens"),
    "wrong_token": (HUB_ERROR, "401 "),
    "overload": (HUB_ERROR, "429 .*Model is overloaded"),
}
TRITON_ERROR = "tritonclient.utils.InferenceServerException"
NO_ERRORS_OF_ITS_OWN = {
    "too_long": ("builtins.KeyError", "0"),
    "wrong_token": ("json.decoder.JSONDecodeError", ""),
    "overload": ("builtins.KeyError", "0"),
}
"""What a client raises that looks for vectors in the body of an answer, whatever its status."""

FULL_SIZE_ONLY = {"tei_client_both"}
"""Scripts of clients that cannot ask for fewer dimensions."""


def named(prefix: str, errors: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    return {f"{prefix}_{label}": error for label, error in errors.items()}


def without_token_ids(errors: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    return {label: error for label, error in errors.items() if label != "token_ids"}


OPENAI_SDK = OPENAI_ERRORS | {
    "unknown_model": ("openai.NotFoundError", "this server has gemwire-mini-embed")
}
ERRORS: dict[tuple[str, str], dict[str, tuple[str, str]]] = {
    ("latest", "openai_sdk"): OPENAI_SDK,
    ("openai-1", "openai_sdk"): OPENAI_SDK,
    (NPM, "openai_sdk_js"): OPENAI_SDK,
    ("latest", "langchain_openai_embeddings"): OPENAI_ERRORS,
    ("latest", "langchain_huggingface_embeddings"): HUB_ERRORS,
    ("latest", "llama_index_embeddings"): {
        **named("openai", without_token_ids(OPENAI_ERRORS)),
        **named("tei", NO_ERRORS_OF_ITS_OWN),
    },
    ("latest", "haystack_embedders"): {
        **named("openai", without_token_ids(OPENAI_ERRORS)),
        **named("openai_documents", without_token_ids(OPENAI_ERRORS)),
        **named("tei", HUB_ERRORS),
    },
    ("latest", "hub_inference_client"): {
        **HUB_ERRORS,
        "unknown_prompt": (HUB_ERROR, "`default-prompt-name` is set to `nope`"),
        "empty_text": (HUB_ERROR, "413 .*Input validation error: `inputs` cannot be empty"),
        "no_texts": ("huggingface_hub.errors.BadRequestError", "`inputs` cannot be empty"),
    },
    ("latest", "litellm_providers"): {
        "openai_too_long": ("litellm.exceptions.ContextWindowExceededError", "2048"),
        "openai_wrong_token": ("litellm.exceptions.AuthenticationError", ""),
        "openai_overload": ("litellm.exceptions.RateLimitError", ""),
        "tei_too_long": ("litellm.exceptions.APIError", "must have less than 2048 tokens"),
        "tei_wrong_token": ("litellm.exceptions.AuthenticationError", ""),
        "tei_overload": ("litellm.exceptions.RateLimitError", "Model is overloaded"),
    },
    ("latest", "tei_client_both"): {
        "grpc_too_long": ("grpc INVALID_ARGUMENT", "must have less than 2048 tokens"),
        "grpc_wrong_token": ("grpc UNAUTHENTICATED", "No valid auth token"),
        "grpc_overload": ("grpc RESOURCE_EXHAUSTED", "Model is overloaded"),
    },
    ("latest", "triton_client"): {
        "too_long": (TRITON_ERROR, "INVALID_ARGUMENT.*2048"),
        "wrong_token": (TRITON_ERROR, "UNAUTHENTICATED"),
        "overload": (TRITON_ERROR, "RESOURCE_EXHAUSTED"),
    },
}
"""By set and script: the type of each error, and a pattern that its message has."""


def test_every_set_is_used() -> None:
    assert {name for name, _ in ERRORS} == {*sets(), NPM}


@pytest.mark.parametrize(("package_set", "script"), [parameter(*key) for key in ERRORS])
def test_vectors_and_errors(servers: Any, package_set: str, script: str) -> None:
    given = {**servers.given, "folder": str(FOLDER / package_set)}
    printed = run(package_set, script, given)
    assert printed["vectors"]
    for found in printed["vectors"]:
        rows = np.asarray(found["rows"])
        # Vectors of fewer dimensions are the first values of the full ones, scaled to norm 1 again.
        expected = servers.expected[found["kind"]][:, : rows.shape[1]]
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-6, err_msg=found["label"])
    assert {found["kind"] for found in printed["vectors"]} >= {"query", "document"}
    sizes = {len(row) for found in printed["vectors"] for row in found["rows"]}
    expected_sizes = {servers.expected["query"].shape[1]}
    if script not in FULL_SIZE_ONLY:
        expected_sizes.add(given["dimensions"])
    assert sizes == expected_sizes
    expected_errors = ERRORS[package_set, script]
    assert printed["errors"].keys() == expected_errors.keys()
    for label, (kind, pattern) in expected_errors.items():
        error = printed["errors"][label]
        assert error["type"] == kind, (label, error)
        assert re.search(pattern, error["message"], re.DOTALL), (label, error)
