"""Opens a page in headless Chromium and runs a script in it."""

import http.server
import json
import queue
import shutil
import subprocess
import threading

import pytest

_FLAGS = (
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--mute-audio",
  "--remote-debugging-port=0",
  "--autoplay-policy=no-user-gesture-required",
)
_CATCH = """<script>window.errors = [];
addEventListener("error", (e) => errors.push(e.message));
addEventListener("unhandledrejection", (e) => errors.push(String(e.reason)));
console.error = (...all) => errors.push(all.join(" "));
</script>"""
_ASK = """<script>(async () => {
const found = await (async () => { %s })().catch((e) => ({failed: String(e)}));
await fetch("/found", {method: "POST", body: JSON.stringify({found, errors})});
})();</script>"""


def ask(page: str, script: str, tmp_path, *, size):
  """Runs a script at the end of the page, and returns its result and the page's errors.

  Skips the test if there is no Chromium.
  """
  chromium = shutil.which("chromium") or shutil.which("google-chrome")
  if chromium is None:
    pytest.skip("no Chromium")
  html = page.replace("<head>", "<head>" + _CATCH)
  html = html.replace("</body>", _ASK % script + "</body>")
  answers: queue.Queue = queue.Queue()

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
      self._answer(html.encode())

    def do_POST(self):
      answers.put(self.rfile.read(int(self.headers["Content-Length"])))
      self._answer(b"")

    def _answer(self, content):
      self.send_response(200)
      self.send_header("Content-Type", "text/html; charset=utf-8")
      self.send_header("Content-Length", str(len(content)))
      self.end_headers()
      self.wfile.write(content)

    def log_message(self, *arguments):
      pass

  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    process = subprocess.Popen(
      [chromium, *_FLAGS, f"--user-data-dir={tmp_path / 'profile'}",
       f"--window-size={size[0]},{size[1]}", f"http://127.0.0.1:{server.server_port}/"],
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
      answer = json.loads(answers.get(timeout=60))
    finally:
      process.terminate()
      process.wait(20)
      server.shutdown()
  return answer["found"], answer["errors"]
