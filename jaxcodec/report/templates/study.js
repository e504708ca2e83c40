"use strict";

// Tables: a button in each heading sorts by its column, numbers by their first number.
const value = (row, column) => row.cells[column].textContent.trim();
const numberOf = (text) => parseFloat(text.replace(/^< /, ""));

const compare = (first, second) => {
  const [a, b] = [numberOf(first), numberOf(second)];
  if (Number.isNaN(a) || Number.isNaN(b)) {
    if (Number.isNaN(a) !== Number.isNaN(b)) return Number.isNaN(a) ? 1 : -1;
    return first.localeCompare(second);
  }
  return a - b;
};

const sortBy = (table, heading, column) => {
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((a, b) => compare(value(a, column), value(b, column)));
  body.append(...(down ? rows.reverse() : rows));
};

for (const table of document.querySelectorAll(".sortable table")) {
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.textContent = heading.textContent;
    button.addEventListener("click", () => sortBy(table, heading, column));
    heading.replaceChildren(button);
  });
}

// Blind comparison: a sentence and two of its systems by chance; a vote names them.
const pair = document.getElementById("blind-pair");
const tally = document.getElementById("blind-tally");
const votes = new Map();

const drawn = (items) => items[Math.floor(Math.random() * items.length)];

const count = (system, field) => {
  const found = votes.get(system) || { better: 0, heard: 0 };
  found[field] += 1;
  votes.set(system, found);
};

const element = (name, text) => {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
};

const showTally = (message) => {
  const lines = [...votes].map(([system, v]) =>
    element("li", `${system}: better ${v.better} of ${v.heard}`));
  const list = document.createElement("ul");
  list.append(...lines);
  tally.replaceChildren(element("p", message), list);
};

const vote = (chosen, systems) => {
  for (const system of systems) count(system, "heard");
  if (chosen !== null) count(systems[chosen], "better");
  pair.hidden = true;
  pair.replaceChildren();
  showTally(`A was ${systems[0]}; B was ${systems[1]}.`);
};

const startBlind = () => {
  const article = drawn([...document.querySelectorAll("article[data-sentence]")]);
  const players = [...article.querySelectorAll("audio")];
  const first = drawn(players);
  const second = drawn(players.filter((player) => player !== first));
  if (!second) return;
  const chosen = [first, second];
  const parts = chosen.map((player, index) => {
    const box = element("p", "AB"[index] + " ");
    const audio = document.createElement("audio");
    audio.controls = true;
    audio.src = player.src;
    audio.setAttribute("aria-label", "AB"[index]);
    box.append(audio);
    return box;
  });
  const systems = chosen.map((player) => player.dataset.system);
  const buttons = [["A is better", 0], ["B is better", 1], ["no difference", null]];
  for (const [text, index] of buttons) {
    const button = element("button", text);
    button.type = "button";
    button.addEventListener("click", () => vote(index, systems));
    parts.push(button);
  }
  pair.replaceChildren(...parts);
  pair.hidden = false;
};

const next = document.getElementById("blind-next");
if (next) next.addEventListener("click", startBlind);
