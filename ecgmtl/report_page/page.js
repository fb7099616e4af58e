// The page: a table of all records that can be sorted and filtered, and the cards of those on its current page.

const PER_PAGE = 25;
const MOST_COLUMNS = 8;  // labels with a column of their own

const parsed = (kind) => [...document.querySelectorAll(`script.${kind}`)].map((node) => JSON.parse(node.textContent));
const records = parsed("card").map((record, id) => ({ ...record, id, probabilities: record.probabilities ?? [] }));
const others = parsed("other");
const [model] = parsed("facts");
const labels = model.labels;
const byId = (id) => document.getElementById(id);
const count = (n, one, many) => `${n.toLocaleString("en-US")} ${n === 1 ? one : many}`;

const view = { sort: null, descending: false, find: "", show: "all", page: 0, waiting: 0 };
const drawn = new Map();  // card's number → promise of its plot

const RANK = { failed: 0, undecided: 1, ok: 2 };
const columns = [
  { name: "File", value: (record) => record.path, cell: (record) => fileName(record.path) },
  { name: "Predicted", value: (record) => `${RANK[record.status]}${outcome(record, labels)}`, cell: (record) => outcome(record, labels) },
  ...(labels.length <= MOST_COLUMNS ? labels.map((label, index) => ({
    name: label.name, label: index, number: true, value: (record) => record.probabilities[index] ?? -1,
  })) : [{
    name: "Highest", number: true, value: (record) => Math.max(-1, ...record.probabilities),
    cell: (record) => record.probabilities.length ? percent(Math.max(...record.probabilities)) : "",
  }]),
  { name: "Findings", value: (record) => codes(record) || "\uffff", cell: codes },
];

/** Return the codes of a record's findings. */
function codes(record) {
  return record.findings.map(({ code }) => code).filter(Boolean).join(" ");
}

/** Return the choices of the filter: a name and a test by key. */
function filters() {
  const status = (name) => (record) => record.status === name;
  return {
    all: ["all records", () => true],
    flagged: ["with findings", (record) => record.findings.length > 0],
    ...(records.some(status("undecided")) ? { undecided: ["without a decision", status("undecided")] } : {}),
    ...(records.some(status("failed")) ? { failed: ["failed", status("failed")] } : {}),
    ...Object.fromEntries(labels.map((label, index) => [`label-${index}`, [`predicted: ${label.name}`, (record) => Boolean(record.decisions?.[index])]])),
  };
}
const choices = filters();

/** Return the records that the filter leaves, in the order of the table. */
function chosen() {
  const words = view.find.trim().toLowerCase();
  const has = (record) => !words || record.path.toLowerCase().includes(words)
    || record.findings.some(({ code, sentence }) => `${code} ${sentence}`.toLowerCase().includes(words));
  const left = records.filter((record) => choices[view.show][1](record) && has(record));
  if (!view.sort) return left;
  const sign = view.descending ? -1 : 1, { value } = view.sort;
  const compare = view.sort.number ? (a, b) => a - b : new Intl.Collator("en", { numeric: true }).compare;
  return left.map((record) => [value(record), record])
    .sort(([a, x], [b, y]) => sign * compare(a, b) || x.id - y.id).map(([, record]) => record);
}

/** Show the current page of the table and its cards. */
function update() {
  const left = chosen(), nPages = Math.max(1, Math.ceil(left.length / PER_PAGE));
  view.page = Math.min(view.page, nPages - 1);
  const shown = left.slice(view.page * PER_PAGE, (view.page + 1) * PER_PAGE);
  byId("matches").textContent = left.length === records.length ? "" : `${left.length.toLocaleString("en-US")} of ${count(records.length, "record", "records")}`;
  byId("table").replaceChildren(tableHead(), html("tbody", {}, ...shown.map(tableRow)));
  showPages(nPages, left.length);
  clearTimeout(view.waiting);  // the table answers first, and while somebody types no card is drawn
  view.waiting = setTimeout(showCards, view.waiting ? 150 : 0, shown);
}

/** Return the headings; choosing one sorts by it, numbers the largest first. */
function tableHead() {
  return html("thead", {}, html("tr", {}, ...columns.map((column) => {
    const sorted = view.sort === column;
    const button = html("button", { type: "button" }, column.name,
      html("span", { "aria-hidden": "true" }, sorted ? (view.descending ? " ▾" : " ▴") : ""));
    button.onclick = () => {
      Object.assign(view, { descending: sorted ? !view.descending : Boolean(column.number), sort: column, page: 0 });
      update();
      byId("table").querySelectorAll("thead button")[columns.indexOf(column)].focus();
    };
    const meaning = column.label == null ? {} : { title: labels[column.label].meaning };
    return html("th", { scope: "col", "aria-sort": sorted ? (view.descending ? "descending" : "ascending") : "none",
      ...(column.number ? { class: "number" } : {}), ...meaning }, button);
  })));
}

/** Return the row of a record. */
function tableRow(record) {
  const cells = columns.map((column, index) => {
    if (index === 0) return html("th", { scope: "row" }, html("a", { href: `#card-${record.id}`, title: record.path }, fileName(record.path)));
    if (column.label == null) return html("td", column.number ? { class: "number" } : {}, column.cell(record));
    const probability = record.probabilities[column.label], yes = Boolean(record.decisions?.[column.label]);
    return html("td", { class: yes ? "number decided" : "number" }, probability == null ? "" : percent(probability));
  });
  return html("tr", { class: record.status }, ...cells);
}

/** Show the buttons to other pages of the table. */
function showPages(nPages, nRecords) {
  const bar = document.querySelector("nav.pages");
  bar.hidden = nPages === 1;
  const button = (name, page) => {
    const made = html("button", { type: "button" }, name);
    made.disabled = page < 0 || page >= nPages;
    made.onclick = () => { view.page = page; update(); byId("records-title").scrollIntoView(); };
    return made;
  };
  const [first, last] = [view.page * PER_PAGE + 1, Math.min((view.page + 1) * PER_PAGE, nRecords)];
  bar.replaceChildren(button("First", nPages === 1 ? -1 : 0), button("Previous", view.page - 1),
    html("span", { role: "status" }, `${first.toLocaleString("en-US")} to ${last.toLocaleString("en-US")} of ${nRecords.toLocaleString("en-US")}`),
    button("Next", view.page + 1), button("Last", nPages - 1));
}

/** Draw a card once. */
function drawCard(card) {
  const record = records[Number(card.id.slice(5))];
  if (record.status === "failed") return Promise.resolve();
  if (!drawn.has(record.id)) {
    drawn.set(record.id, fillCard(card, record, byId(`drawing-${record.id}`)?.textContent, labels));
  }
  return drawn.get(record.id);
}

const inView = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) { inView.unobserve(entry.target); drawCard(entry.target); }
}, { rootMargin: "1000px" });

/** Return the card of a record, with what is printed below it. */
function newCard(record) {
  const card = makeCard(record, record.id, labels);
  card.append(html("p", { class: "printed" }, byId("notice").textContent));
  return card;
}

/**
 * Show the cards of these records. They are drawn when they come into view, and the rest as soon as there is time.
 * A card that is there already stays as it is, with what was chosen in it.
 */
function showCards(shown) {
  inView.disconnect();
  const place = byId("cards"), ids = new Set(shown.map((record) => record.id));
  for (const id of drawn.keys()) if (!ids.has(id)) drawn.delete(id);
  const cards = shown.map((record) => byId(`card-${record.id}`) ?? newCard(record));
  cards.forEach((card, at) => { if (place.children[at] !== card) place.insertBefore(card, place.children[at] ?? null); });
  while (place.children.length > cards.length) place.lastChild.remove();
  cards.forEach((card) => inView.observe(card));
  const rest = [...cards];
  const next = () => { if (rest.length && rest[0].isConnected) drawCard(rest.shift()).then(() => later(next)); };
  later(next);
}

/** Run a function when the browser is idle. */
function later(run) {
  (globalThis.requestIdleCallback ?? setTimeout)(run);
}

/** Move between the rows of the table with the arrow keys. */
function moveInTable(event) {
  const links = [...byId("table").querySelectorAll("tbody a")], at = links.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 }[event.key];
  if (at < 0 || to == null) return;
  event.preventDefault();
  links[Math.max(0, Math.min(links.length - 1, to))].focus();
}

/** Open the card that a link in the table leads to, and move the focus there. */
function open(event) {
  const link = event.target.closest("a");
  if (!link) return;
  event.preventDefault();
  const title = byId(`title-${link.hash.slice(6)}`);
  if (!title) return;  // the cards of a new page come a moment after its table
  title.closest("article").scrollIntoView();
  title.focus({ preventScroll: true });
}

/** Move between the titles of cards with the arrow keys, and back to the table with Escape. */
function moveInCards(event) {
  const titles = [...byId("cards").querySelectorAll("h3")], at = titles.indexOf(event.target);
  if (at < 0) return;
  const link = byId("table").querySelectorAll("tbody a")[at];
  const to = { ArrowDown: titles[at + 1], ArrowUp: titles[at - 1], Escape: link }[event.key];
  if (!to) return;
  event.preventDefault();
  (to === link ? to : to.closest("article")).scrollIntoView({ block: to === link ? "center" : "start" });
  to.focus({ preventScroll: true });
}

/** List the files that are not ECGs when the list is opened. */
function listOthers() {
  const box = byId("others");
  box.hidden = !others.length;
  box.querySelector("summary").textContent = `${count(others.length, "other file was", "other files were")} not read as an ECG`;
  box.addEventListener("toggle", () => {
    box.querySelector("ul").replaceChildren(...others.map(({ path, kind }) => html("li", {}, `${path} (${kind})`)));
  }, { once: true });
}

/** Return the table of thresholds, with what they meant in validation. */
function thresholdTable() {
  const known = labels.some((label) => label.cells.length);
  const heads = ["Label", "Threshold", ...(known ? ["Records with it", "Sensitivity", "Specificity", "Precision", "AUROC"] : [])];
  const head = (name, index) => html("th", { scope: "col", ...(index ? { class: "number" } : {}) }, name);
  const rows = labels.map((label) => html("tr", {}, html("th", { scope: "row" }, label.name, html("small", {}, label.meaning)),
    ...[percent(label.threshold), ...label.cells].map((text) => html("td", { class: "number" }, text))));
  return [html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Thresholds" },
    html("table", {}, html("thead", {}, html("tr", {}, ...heads.map(head))), html("tbody", {}, ...rows))),
  html("p", { class: "hint" }, known ? "A label is predicted if its probability reaches the threshold. Sensitivity is the fraction of records with the label for which it was predicted, "
    + "specificity the fraction of the others for which it was not, and precision the fraction of its predictions that were right. In brackets: 95 % intervals."
    : "A label is predicted if its probability reaches the threshold. The model holds no figures on how often that is right.")];
}

/** Say what the model is, what its thresholds mean and what it is for. */
function describeModel() {
  const origin = Object.entries(model.provenance).flatMap(([key, value]) => [html("dt", {}, key), html("dd", {}, value)]);
  byId("model").append(
    html("p", {}, html("b", {}, model.model), `, label set ${model.label_set}; input: ${model.input}${model.figures && `; ${model.figures}`}. ${model.optimistic}`),
    ...thresholdTable(),
    html("p", {}, html("b", {}, `${model.notice} `), `Intended use: ${model.intended_use}`),
    ...(model.card ? [html("details", {}, html("summary", {}, "Model card"), html("pre", {}, model.card))] : []),
    html("details", {}, html("summary", {}, "Origin of the model"), html("dl", {}, ...origin)),
    html("p", { class: "hint" }, `Made by ecgmtl ${model.version}. This page loads nothing and sends nothing.`));
}

/** Say how many files there are, by outcome. */
function showCounts() {
  const of = (status) => records.filter((record) => record.status === status).length;
  const [ok, undecided, failed] = ["ok", "undecided", "failed"].map(of);
  byId("counts").textContent = [
    `${count(ok + undecided, "record", "records")} predicted${undecided ? ` (${undecided.toLocaleString("en-US")} without a decision)` : ""}`,
    `${failed.toLocaleString("en-US")} failed`, ...(others.length ? [count(others.length, "other file", "other files")] : []),
  ].join(", ") + ".";
  byId("summary").hidden = records.length < 2;
}

/** Fill the list of filters. */
function showFilters() {
  byId("show").replaceChildren(...Object.entries(choices).map(([value, [name]]) => html("option", { value }, name)));
  byId("show").value = view.show;
}

function start() {
  showCounts();
  showFilters();
  byId("notice").textContent = `${model.notice} Model: ${model.model}.`;
  const show = byId("show");
  show.onchange = () => { Object.assign(view, { show: show.value, page: 0 }); update(); };
  byId("find").oninput = (event) => { Object.assign(view, { find: event.target.value, page: 0 }); update(); };
  byId("table").addEventListener("keydown", moveInTable);
  byId("table").addEventListener("click", open);
  byId("cards").addEventListener("keydown", moveInCards);
  listOthers();
  describeModel();
  update();
}

start();
