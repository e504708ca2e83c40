"""HTML pieces. All text goes through `fragment`, so that none of it is markup."""

import html
from collections.abc import Collection, Iterable, Sequence


def fragment(text: object) -> str:
  """Text as HTML text, also fit for a quoted attribute."""
  return html.escape(str(text), quote=True)


def tag(name: str, text: object, **attributes: str) -> str:
  """An element around escaped text."""
  inside = "".join(f' {key}="{fragment(v)}"' for key, v in attributes.items())
  return f"<{name}{inside}>{fragment(text)}</{name}>"


def figure(source: str, *, alt: str, caption: str = "") -> str:
  """An embedded picture with its description."""
  below = tag("figcaption", caption) if caption else ""
  image = f'<img src="{source}" alt="{fragment(alt)}" decoding="async">'
  return f"<figure>{image}{below}</figure>"


def table(
  head: Sequence[str],
  rows: Iterable[Sequence[str]],
  *,
  words: Collection[int] = (),
  raw: Collection[int] = (),
  code: Collection[int] = (),
  caption: str = "",
) -> str:
  """A table that scrolls sideways where the page is too narrow.

  Args:
    head: column titles.
    rows: cells; the first one is the row's header.
    words: columns of text, which are left-aligned and may wrap.
    raw: columns that are HTML already.
    code: columns in a fixed-width face.
    caption: shown above.
  """

  def cell(index: int, value: str) -> str:
    inner = value if index in raw else fragment(value)
    inner = f"<code>{inner}</code>" if index in code else inner
    if index == 0:
      return f'<th scope="row">{inner}</th>'
    return f'<td class="words">{inner}</td>' if index in words else f"<td>{inner}</td>"

  titles = "".join(
    f'<th scope="col"{" class=words" if i in words else ""}>{fragment(t)}</th>'
    for i, t in enumerate(head)
  )
  body = "\n".join(
    f"<tr>{''.join(cell(i, v) for i, v in enumerate(row))}</tr>" for row in rows
  )
  above = tag("caption", caption) if caption else ""
  return (
    f'<div class="scroll"><table>{above}<thead><tr>{titles}</tr></thead>'
    f"<tbody>\n{body}\n</tbody></table></div>"
  )
