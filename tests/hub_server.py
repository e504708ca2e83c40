"""A small Hugging Face Hub on loopback, which can also fail in several ways.

It speaks the part of the protocol that huggingface_hub uses to read models (listing,
metadata, ranges, large files on another host) and to write them (large files by git
LFS's batches, commits). Large are files whose names end in .safetensors or .bin.
"""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading

_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.+)")
_INFO = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(/revision/(?P<rev>[^/]+))?")
_WRITE = re.compile(
  r"/api/models/(?P<repo>[^/]+/[^/]+)/(?P<what>preupload|commit)/(?P<rev>[^/]+)"
)
LARGE = (".safetensors", ".bin")


class Hub:
  """The server's content, what it is to do wrong, and what it was asked.

  Attributes:
    repos: by name, the files of each revision: `{repo: {revision: {path: bytes}}}`.
    gated: names of repositories that nobody may read.
    tokens: those that may write.
    cuts: by path, after how many bytes the connection is closed, once for each entry.
    sends: by path, what is sent in place of the content, once for each entry.
    requests: (method, path, range) of all requests.
    cards: texts of README.md that were checked.
  """

  def __init__(self):
    self.repos, self.gated, self.tokens = {}, set(), {"hf_write"}
    self.cuts, self.sends, self.uploaded = {}, {}, {}
    self.requests, self.cards = [], []
    self.url = ""

  def add(self, repo, folder, revision="main"):
    """Adds the files of a folder as a revision."""
    names = [p for p in folder.rglob("*") if p.is_file()]
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in names}
    self.repos.setdefault(repo, {})[revision] = files

  def commit_of(self, repo, revision):
    """Returns a revision's commit: a checksum of its content."""
    files = self.repos[repo][revision]
    digest = hashlib.sha1(repr(sorted(files.items())).encode())
    return digest.hexdigest()

  def revision(self, repo, name):
    """Returns the revision of a branch's name or a commit; None if there is none."""
    for revision in self.repos[repo]:
      if name in (revision, self.commit_of(repo, revision)):
        return revision
    return None

  def asked(self, method="GET"):
    """Returns the last part of the paths of requests with a method."""
    return [path.rsplit("/", 1)[-1] for m, path, _ in self.requests if m == method]

  @contextlib.contextmanager
  def serve(self):
    """Serves until the block ends."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    self.url = f"http://127.0.0.1:{server.server_port}"
    try:
      yield self
    finally:
      server.shutdown()
      server.server_close()
      thread.join()


def _sha256(content):
  return hashlib.sha256(content).hexdigest()


def _git_sha1(content):
  return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _handler(hub):
  class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
      pass

    def do_HEAD(self):
      self._read()

    def do_GET(self):
      self._read()

    def do_POST(self):
      self._write()

    def do_PUT(self):
      self._write()

    # What both need.

    def _path(self):
      path = self.path.partition("?")[0]
      hub.requests.append((self.command, path, self.headers.get("Range")))
      return path

    def _answer(self, status, content=b"", **headers):
      self.send_response(status)
      for name, value in headers.items():
        self.send_header(name.replace("_", "-"), value)
      self.send_header("Content-Length", str(len(content)))
      self.end_headers()
      if self.command != "HEAD":
        self.wfile.write(content)

    def _json(self, value, status=200):
      self._answer(status, json.dumps(value).encode(), Content_Type="application/json")

    def _error(self, status, code, message):
      self._answer(status, b"", X_Error_Code=code, X_Error_Message=message)

    # Reading.

    def _read(self):
      path = self._path()
      if path.startswith("/cdn/"):
        return self._send(path, hub.uploaded[path.rsplit("/", 1)[-1]])
      match = _INFO.fullmatch(path) or _RESOLVE.fullmatch(path)
      if match is None:
        return self._answer(404)
      repo, revision = match["repo"], match["rev"] or "main"
      if repo not in hub.repos:  # as the real one says to who hasn't logged in
        return self._error(401, "RepoNotFound", "Repository not found")
      revision = hub.revision(repo, revision)
      if revision is None:
        return self._error(404, "RevisionNotFound", "Invalid rev id")
      if "path" in match.groupdict():
        return self._resolve(repo, revision, match["path"])
      names = [{"rfilename": name} for name in sorted(hub.repos[repo][revision])]
      sha = hub.commit_of(repo, revision)
      return self._json({"id": repo, "sha": sha, "siblings": names})

    def _resolve(self, repo, revision, path):
      if repo in hub.gated:
        return self._error(403, "GatedRepo", "Access to this repository is restricted")
      files, commit = hub.repos[repo][revision], hub.commit_of(repo, revision)
      if path not in files:
        return self._error(404, "EntryNotFound", "Entry not found")
      content, headers = files[path], {"X_Repo_Commit": commit}
      if not path.endswith(LARGE):
        return self._send(path, content, ETag=f'"{_git_sha1(content)}"', **headers)
      hub.uploaded[digest := _sha256(content)] = content
      # Another name of this host: a large file lies elsewhere, without its metadata.
      elsewhere = hub.url.replace("127.0.0.1", "localhost")
      headers |= {"X_Linked_Etag": f'"{digest}"', "X_Linked_Size": str(len(content))}
      return self._answer(302, Location=f"{elsewhere}/cdn/{path}/{digest}", **headers)

    def _send(self, path, content, **headers):
      name = path.removeprefix("/cdn/").rsplit("/", 1)[0] if "/cdn/" in path else path
      if self.command == "GET" and hub.sends.get(name):
        content = hub.sends[name].pop(0)
      start, status = 0, 200
      if wanted := self.headers.get("Range"):
        start, status = int(wanted.removeprefix("bytes=").split("-")[0]), 206
        headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
      content = content[start:]
      if self.command == "GET" and hub.cuts.get(name):
        return self._cut(content, hub.cuts[name].pop(0), status, headers)
      return self._answer(status, content, **headers)

    def _cut(self, content, count, status, headers):
      """Promises all of the content, sends its beginning and hangs up."""
      self.send_response(status)
      for name, value in headers.items():
        self.send_header(name.replace("_", "-"), value)
      self.send_header("Content-Length", str(len(content)))
      self.end_headers()
      self.wfile.write(content[:count])
      self.close_connection = True

    # Writing.

    def _body(self):
      if self.headers.get("Transfer-Encoding") != "chunked":
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))
      parts = []
      while size := int(self.rfile.readline(), 16):
        parts.append(self.rfile.read(size))
        self.rfile.readline()
      self.rfile.readline()
      return b"".join(parts)

    def _write(self):
      path, body = self._path(), self._body()
      token = self.headers.get("Authorization", "").removeprefix("Bearer ")
      if path.startswith("/upload/"):
        hub.uploaded[path.removeprefix("/upload/")] = body
        return self._answer(200)
      if path == "/api/validate-yaml":
        hub.cards.append(json.loads(body)["content"])
        return self._json({"warnings": [], "errors": []})
      if token not in hub.tokens:
        return self._error(401, "", "Invalid credentials in Authorization header")
      if path == "/api/repos/create":
        asked = json.loads(body)
        repo = f"{asked['organization']}/{asked['name']}"
        hub.repos.setdefault(repo, {"main": {}})
        return self._json({"url": f"{hub.url}/{repo}", "name": repo})
      if path.endswith("/info/lfs/objects/batch"):
        return self._batch(json.loads(body)["objects"])
      match = _WRITE.fullmatch(path)
      if match["what"] == "preupload":
        return self._json(
          {"files": [_mode(f["path"]) for f in json.loads(body)["files"]]}
        )
      return self._commit(match["repo"], match["rev"], body)

    def _batch(self, objects):
      found = []
      for one in objects:
        upload = {"href": f"{hub.url}/upload/{one['oid']}"}
        found.append({**one, "actions": {"upload": upload}})
      return self._json({"transfer": "basic", "objects": found})

    def _commit(self, repo, revision, body):
      files = hub.repos[repo][revision]
      for line in map(json.loads, body.splitlines()):
        value = line["value"]
        if line["key"] == "file":
          files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
          files[value["path"]] = hub.uploaded[value["oid"]]
      oid = hub.commit_of(repo, revision)
      url = f"{hub.url}/{repo}/commit/{oid}"
      return self._json({"success": True, "commitOid": oid, "commitUrl": url})

  return Handler


def _mode(path):
  mode = "lfs" if path.endswith(LARGE) else "regular"
  return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": None}
