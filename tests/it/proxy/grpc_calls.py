"""A gRPC service, and a client of it: `grpc_calls.py serve`, or `grpc_calls.py call ADDRESS NAME REALM TOKEN`."""

import queue
import sys
from concurrent import futures

import grpc

ECHO, CHAT, FAIL = ("/test.Test/" + name for name in ("Echo", "Chat", "Fail"))


def echo(request, context):
    seen = dict(context.invocation_metadata())
    context.set_trailing_metadata((("x-seen", f"{seen.get('x-auth-name')} {seen.get('x-auth-token')}"),))
    return request


def chat(requests, context):
    for request in requests:
        yield request
    context.set_trailing_metadata((("x-end", "yes"),))


def fail(request, context):
    context.set_trailing_metadata((("x-why", "because"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today")


class Service(grpc.GenericRpcHandler):
    def service(self, details):
        return {
            ECHO: grpc.unary_unary_rpc_method_handler(echo),
            CHAT: grpc.stream_stream_rpc_method_handler(chat),
            FAIL: grpc.unary_unary_rpc_method_handler(fail),
        }.get(details.method)


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((Service(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()  # until whoever started it lets go
    server.stop(0)


def call(address, name, realm, token):
    who = (("x-auth-name", name), ("x-auth-realm", realm), ("x-auth-token", token))
    with grpc.insecure_channel(address) as channel:
        large = b"x" * 3_000_000
        answer, done = channel.unary_unary(ECHO).with_call(large, metadata=who, timeout=20)
        assert answer == large
        assert dict(done.trailing_metadata())["x-seen"] == f"{name} None", done.trailing_metadata()
        # Each message is echoed before the next is sent.
        sent = queue.SimpleQueue()
        answers = channel.stream_stream(CHAT)(iter(sent.get, None), metadata=who, timeout=20)
        for n in range(200):
            sent.put(b"%d" % n)
            assert next(answers) == b"%d" % n
        sent.put(None)
        assert list(answers) == []
        assert dict(answers.trailing_metadata())["x-end"] == "yes"
        for metadata, code in ((who, grpc.StatusCode.FAILED_PRECONDITION), ((), grpc.StatusCode.UNAUTHENTICATED)):
            try:
                channel.unary_unary(FAIL)(b"", metadata=metadata, timeout=20)
                raise AssertionError("it did not fail")
            except grpc.RpcError as error:
                assert error.code() == code, error
                if metadata:
                    assert error.details() == "not today"
                    assert dict(error.trailing_metadata())["x-why"] == "because"
    print("good")


if __name__ == "__main__":
    serve() if sys.argv[1] == "serve" else call(*sys.argv[2:])
