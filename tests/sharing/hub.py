"""A server that speaks as much of Hugging Face's protocol as an upload needs, and keeps what it was sent."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_" + "x" * 34
COMMIT = "0" * 40


class Hub(BaseHTTPRequestHandler):
    """Requests that nothing here answers get 404, and any without the token 401."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, value, status=200):
        self._send(json.dumps(value).encode(), status)

    def _send(self, body, status=200):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 200:
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _handle(self):
        body = self._body()
        hub = self.server.state
        hub["asked"].append(f"{self.command} {self.path}")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer({"error": "Invalid credentials"}, 401)
        address = f"http://{self.headers['Host']}"
        if self.path == "/api/whoami-v2":
            return self._answer({"name": "me", "type": "user"})
        if self.path == "/api/repos/create":
            hub["created"].append(json.loads(body))
            return self._answer({"url": f"{address}/me/model", "id": "1"})
        if self.path == "/api/validate-yaml":
            hub["cards"].append(json.loads(body)["content"])
            return self._answer({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            modes = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in files]
            return self._answer({"files": modes})
        if "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    hub["files"][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            commit = {"commitUrl": f"{address}/me/model/commit/{COMMIT}", "commitOid": COMMIT, "success": True}
            return self._answer(commit)
        if "/tree/" in self.path:
            files = hub["files"].items()
            return self._answer([{"type": "file", "path": k, "size": len(v), "oid": COMMIT} for k, v in files])
        if self.path.startswith("/api/models/me/model"):
            siblings = [{"rfilename": path} for path in hub["files"]]
            return self._answer({"id": "me/model", "sha": COMMIT, "siblings": siblings, "tags": [], "downloads": 0})
        asked = re.fullmatch(r"/me/model/resolve/[^/]+/([^?]+).*", self.path)
        if asked and asked[1] in hub["files"]:
            return self._send(hub["files"][asked[1]])
        self.send_response(404)
        self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = do_HEAD = _handle


@contextmanager
def hub():
    """Serve while in use; gives the address and what was asked, created and sent."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.state = {"asked": [], "created": [], "cards": [], "files": {}}
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
