"""The cases of clients/conformance as data: complete, and readable by the servers that play them."""

from google.protobuf.json_format import ParseDict

from gemwire.v1 import embedding_pb2 as pb
from gemwire_conformance import cases, messages
from support.refusals.proto import in_the_proto, values

CASES = cases.load()
STEPS = {
    "open", "opened", "results", "go_away", "unknown", "unreadable", "texts", "quiet", "answer", "fail",
    "serve", "half_close", "cancelled", "hang", "status", "cut",
}  # fmt: skip


def test_every_reason_has_a_case_with_its_code() -> None:
    found = in_the_proto()
    assert {reason for reason, *_ in found} == values()
    for reason, code, retry in found:
        case = CASES[f"error_{reason}"]
        (step,) = case["script"]
        assert step["status"]["code"] == code == case["expect"]["error"]["code"]
        assert ("retry_delay" in step["status"]) == retry


def test_every_encoding_and_task_has_a_case() -> None:
    encodings = {name for name in CASES if name.startswith("encoding_")}
    for name in pb.VectorEncoding.keys()[1:]:
        assert f"encoding_{name.removeprefix('VECTOR_ENCODING_').lower()}" in encodings
    called = str([case["call"] for case in CASES.values()])
    for name in pb.TaskType.keys()[1:]:
        word = name.removeprefix("TASK_TYPE_").lower()
        assert word in called or word == "retrieval_document"


def test_every_message_of_a_script_is_one() -> None:
    for case in CASES.values():
        messages.model(case.get("model", {}))
        for step in case.get("script", []):
            method = step["method"]
            if "request" in step:
                ParseDict(step["request"], messages.REQUESTS[method]())
            if "response" in step:
                ParseDict(step["response"], messages.RESPONSES[method]())
            if "status" in step:
                messages.status(step["status"])
            for part in step.get("stream", []):
                assert part.keys() & STEPS, (case["name"], part)


def test_every_case_without_a_server_of_its_own_has_a_script() -> None:
    for case in CASES.values():
        assert ("script" in case) != ("server" in case), case["name"]
