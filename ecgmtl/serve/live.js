// The live page: files that are dropped are sent to the service, one record a request, and their cards appear.

const [limits] = parsed("limits");
const AT_ONCE = 2;  // requests under way: while one is answered, the next one is sent
const BUSY = 503, PATIENCE = 20;  // times that a busy service is asked again, one second apart
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

const queue = [];  // units that wait
const work = { drop: 0, sent: 0, done: 0, running: 0 };
const NEWEST = { number: true, value: (record) => record.order };  // the last drop first, its files in their order

/** Return the files of an entry, which may be a folder. Files whose names begin with a dot are left out. */
async function filesOf(entry) {
  if (entry.name.startsWith(".")) return [];
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => { entry.file(resolve, reject); });
    return [{ path: entry.fullPath.replace(/^\//, ""), file }];
  }
  const reader = entry.createReader(), found = [];
  for (;;) {  // a folder is read in pieces
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (!some.length) return found;
    for (const one of some) found.push(...await filesOf(one));
  }
}

/** Return the names that a WFDB header may have for its samples or segments: the first word of each line. */
async function namedBy(header) {
  const text = await header.slice(0, 65536).text();
  return text.split("\n").filter((row) => !row.startsWith("#")).map((row) => row.trim().split(/\s+/)[0]).filter(Boolean);
}

/** Group files that are read together: those of one name without suffix, and those that a WFDB header names. */
async function group(files) {
  const units = new Map();  // path or path without suffix → unit
  const join = (one, two) => {
    if (!one || !two || one === two) return;
    for (const item of two.items) one.items.push(item);
    for (const key of two.keys) { one.keys.push(key); units.set(key, one); }
  };
  for (const item of files) {
    const stem = item.path.replace(/\.[^./]*$/, "") + "\n";  // no path has a line break, so this is no other file
    const unit = units.get(stem) ?? { items: [], keys: [stem] };
    unit.items.push(item); unit.keys.push(item.path);
    units.set(stem, unit); units.set(item.path, unit);
  }
  for (const { path, file } of files.filter((item) => /\.hea$/i.test(item.path))) {
    const folder = folderOf(path);
    for (const name of await namedBy(file)) {
      join(units.get(path), units.get(folder + name));
      join(units.get(path), units.get(`${folder}${name}.hea`));
    }
  }
  return [...new Set(units.values())].map((unit) => unit.items);
}

/** Return why a unit cannot be sent, or nothing. */
function refusal(items) {
  const large = items.find(({ file }) => file.size > limits.file_bytes);
  if (large) return `${fileName(large.path)} has ${megabytes(large.file.size)}, but a file may have at most ${megabytes(limits.file_bytes)} here. Start the service with a larger --max-mb, or use ecgmtl predict.`;
  const size = items.reduce((sum, { file }) => sum + file.size, 0);
  if (size > 0.99 * limits.request_bytes) return `Its files have ${megabytes(size)} together, but a record may have at most ${megabytes(limits.request_bytes)} here.`;
  if (items.length > limits.n_files) return `It has ${items.length} files, but a record may have at most ${limits.n_files} here.`;
  return null;
}

/** Return the facts that files may lack, as the query of a request. */
function query() {
  const facts = new URLSearchParams();
  for (const name of ["fs", "unit", "leads", "window"]) if (byId(`set-${name}`).value.trim()) facts.set(name, byId(`set-${name}`).value.trim());
  return facts.toString();
}

/** Send a unit, and return its cards and other files. */
async function send(items, facts) {
  const form = new FormData();
  for (const { path, file } of items) form.append("files", file, path);
  for (let tries = 0; ; tries++) {
    const response = await fetch(`api/cards?${facts}`, { method: "POST", body: form });
    if (response.ok) return response.json();
    if (response.status !== BUSY || tries >= PATIENCE) {
      const { detail } = await response.json().catch(() => ({}));
      throw new Error(typeof detail === "string" ? detail : `The service answered with the error ${response.status}.`);
    }
    await new Promise((resolve) => { setTimeout(resolve, 1000); });
  }
}

/** Return the answer for a unit that the service does not answer for. */
function failed(items, sentence) {
  const main = items.find(({ path }) => /\.hea$/i.test(path)) ?? items[0];
  return { cards: [{ summary: { path: main.path, status: "failed", findings: [{ severity: "failed", code: "", sentence }] }, drawing: null }], others: [] };
}

/** Add an answer to the page. */
function add({ cards, others: further }, order) {
  for (const { summary, drawing } of cards) {
    const id = records.length;
    records.push({ ...summary, id, order, probabilities: summary.probabilities ?? [] });
    if (drawing) {
      const data = html("script", { type: "text/plain", id: `drawing-${id}` });
      data.textContent = drawing;
      document.body.append(data);
    }
  }
  if (further.length) { others.push(...further); showOthers(); }
}

/** Show what there is now. */
function refresh() {
  const before = Object.keys(choices).length;
  Object.assign(choices, filters());
  if (Object.keys(choices).length !== before) showFilters();
  showCounts();
  if (!records.length) byId("counts").textContent = "No record yet.";
  update();
  const left = work.sent - work.done;
  byId("progress").textContent = left ? `${work.done.toLocaleString("en-US")} of ${count(work.sent, "record", "records")} read…` : "";
  byId("progress-bar").hidden = !left;
  byId("progress-bar").max = Math.max(work.sent, 1);
  byId("progress-bar").value = work.done;
  if (!left) Object.assign(work, { sent: 0, done: 0 });
}

let isDue = false;
/** Refresh once for all answers that come within a tenth of a second. */
function refreshSoon() {
  if (isDue) return;
  isDue = true;
  setTimeout(() => { isDue = false; refresh(); }, 100);
}

/** Send waiting units, some at once. */
async function run() {
  if (work.running >= AT_ONCE || !queue.length) return;
  work.running++;
  while (queue.length) {
    const { items, order, facts } = queue.shift(), sentence = refusal(items);
    try {
      add(sentence ? failed(items, sentence) : await send(items, facts), order);
    } catch (error) {
      const isGone = error instanceof TypeError;  // fetch raises it where nothing answers, or the file is gone
      add(failed(items, isGone ? "The service does not answer, or the file has changed. Is ecgmtl serve still running?" : error.message), order);
    }
    work.done++;
    refreshSoon();
  }
  work.running--;
}

/** Take files that were dropped or chosen. */
async function take(files) {
  const found = await files;
  if (!found.length) { byId("progress").textContent = "There is no file in it."; return; }
  const units = await group(found), facts = query();
  work.drop++;
  units.forEach((items, index) => queue.push({ items, facts, order: work.drop * 1e6 - index }));
  work.sent += units.length;
  refresh();
  for (let i = 0; i < AT_ONCE; i++) run();
}

/** Return the files of a drop. Entries must be taken before the event ends. */
function dropped(event) {
  const entries = [...event.dataTransfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return Promise.resolve([...event.dataTransfer.files].map((file) => ({ path: file.name, file })));
  return Promise.all(entries.map((entry) => filesOf(entry).catch(() => []))).then((lists) => lists.flat());
}

/** List the files that hold no ECG. */
function showOthers() {
  const box = byId("others");
  box.hidden = false;
  box.querySelector("summary").textContent = `${count(others.length, "other file was", "other files were")} not read as an ECG`;
  box.querySelector("ul").replaceChildren(...others.map(({ path, kind }) => html("li", {}, `${path} (${kind})`)));
}

/** Remove all records from the page. */
function clear() {
  document.querySelectorAll("script[id^=drawing-]").forEach((data) => data.remove());
  byId("cards").replaceChildren();
  drawn.clear();
  records.length = 0; others.length = 0; queue.length = 0;
  byId("others").hidden = true;
  refresh();
}

/** Return a button that opens the browser's choice of files or of a folder. */
function chooser(id, name, attributes) {
  const input = html("input", { type: "file", id, class: "unseen", tabindex: "-1", "aria-hidden": "true", ...attributes });
  input.onchange = () => {
    const chosen = [...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
    take(chosen.filter(({ path }) => !path.split("/").some((part) => part.startsWith("."))));
    input.value = "";
  };
  const button = html("button", { type: "button" }, name);
  button.onclick = () => input.click();
  return [button, input];
}

/** Return the form of the facts that files may lack. */
function factsForm() {
  const field = (id, name, input) => { input.id = `set-${id}`; return html("label", {}, `${name} `, input); };
  const unit = html("select", {}, html("option", { value: "" }, "as stated"), ...["mV", "uV", "nV", "V"].map((name) => html("option", { value: name }, name)));
  const spans = { "": "first part", best: "best part", all: "mean of all parts" };
  const span = html("select", {}, ...Object.entries(spans).map(([value, name]) => html("option", { value }, name)));
  return html("details", {}, html("summary", {}, "Settings for files that do not state them, and for long recordings"),
    html("div", { class: "tools" },
      field("fs", "Sampling rate in Hz", html("input", { type: "number", min: "1", step: "any", size: "6" })),
      field("unit", "Unit", unit),
      field("leads", "Leads in their order", html("input", { type: "text", placeholder: "I,II,III,…", spellcheck: "false", autocomplete: "off" })),
      field("window", "For long recordings", span)));
}

function startLive() {
  const clearAll = html("button", { type: "button", id: "clear" }, "Clear the page");
  clearAll.onclick = clear;
  const zone = html("section", { id: "drop", "aria-labelledby": "drop-title" },
    html("h2", { id: "drop-title" }, "Drop ECG files or folders here"),
    html("p", { class: "hint" }, "A WFDB record needs its .hea and its .dat or .mat in one drop. The files are read on this computer and not kept."),
    html("div", { class: "tools" }, ...chooser("choose-files", "Choose files…", { multiple: "" }),
      ...chooser("choose-folder", "Choose a folder…", { webkitdirectory: "" }), clearAll),
    factsForm(),
    html("progress", { id: "progress-bar", hidden: "", "aria-labelledby": "progress" }), html("p", { id: "progress", role: "status" }));
  document.querySelector("main").prepend(zone);
  let depth = 0;  // a drag enters and leaves every element that it passes
  const mark = (change) => { depth = Math.max(0, depth + change); zone.classList.toggle("over", depth > 0); };
  addEventListener("dragenter", () => mark(1));
  addEventListener("dragleave", () => mark(-1));
  addEventListener("dragover", (event) => event.preventDefault());  // so that a drop is possible anywhere
  addEventListener("drop", (event) => { event.preventDefault(); mark(-depth); take(dropped(event)); });
  document.querySelector("h1").textContent = "ECG report, live";
  byId("model").lastChild.textContent = `Made by ecgmtl ${model.version}. Files are sent to the service at this address and nowhere else.`;
  Object.assign(view, { sort: NEWEST, descending: true });
  refresh();
}

startLive();
