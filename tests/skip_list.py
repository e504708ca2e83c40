"""A pytest plugin that fails a run if a test is skipped and no list allows it.

`pytest --allowed-skips=FILE`: each line of the file is a regular expression that fits
`<test>: <reason>` from its start, then two spaces, `# ` and why that may be skipped.
"""

import pathlib
import re

import pytest


def pytest_addoption(parser):
  parser.addoption("--allowed-skips", metavar="FILE", help="fail on any other skip")


def pytest_configure(config):
  path = config.getoption("--allowed-skips")
  if path and not hasattr(config, "workerinput"):  # the main process hears of all
    config.pluginmanager.register(_SkipList(read_patterns(path)), "skip list")


def read_patterns(path):
  """Returns the file's regular expressions; each must say why."""
  patterns = []
  for line in pathlib.Path(path).read_text().splitlines():
    if not line.strip() or line.startswith("#"):
      continue
    pattern, _, why = line.partition("  # ")
    if not why.strip():
      raise pytest.UsageError(f"{path}: expected '<regex>  # <why>', got {line!r}")
    patterns.append(re.compile(pattern.strip()))
  return patterns


class _SkipList:
  """Collects the skips of a run that no pattern matches."""

  def __init__(self, patterns):
    self._patterns, self._refused = patterns, []

  def pytest_runtest_logreport(self, report):
    self._check(report)

  def pytest_collectreport(self, report):
    self._check(report)

  def _check(self, report):
    if not report.skipped or hasattr(report, "wasxfail"):
      return
    reason = report.longrepr[2] if report.longrepr else ""
    skip = f"{report.nodeid}: {reason.removeprefix('Skipped: ')}"
    if not any(pattern.match(skip) for pattern in self._patterns):
      self._refused.append(skip)

  def pytest_sessionfinish(self, session):
    if self._refused and session.exitstatus == pytest.ExitCode.OK:
      session.exitstatus = pytest.ExitCode.TESTS_FAILED

  def pytest_terminal_summary(self, terminalreporter):
    for skip in self._refused:
      terminalreporter.write_line(f"skipped, and not on the list: {skip}", red=True)
