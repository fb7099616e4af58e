// The card of one record: findings, the ECG, probabilities, and where they come from.

const SEVERITIES = { failed: "Failed", undecided: "No decision", note: "Note" };
const MOST_SHOWN = 8;  // labels of a card that are not folded away

const percent = (share) => (share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`);
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const fileName = (path) => path.split(/[\\/]/).pop();
const folderOf = (path) => path.slice(0, path.length - fileName(path).length);

/** Return the names of the labels that are predicted, the ones furthest above their thresholds first. */
function predicted(record, labels) {
  return ranked(record, labels).filter((index) => record.decisions[index]).map((index) => labels[index].name);
}

/** Return what is predicted for a record, in a few words. */
function outcome(record, labels) {
  if (record.status === "failed") return "Failed";
  if (record.status === "undecided") return "No decision";
  const names = predicted(record, labels), more = names.length - MOST_SHOWN;
  if (more > 0) return `${names.slice(0, MOST_SHOWN).join(", ")} and ${more} more`;
  return names.join(", ") || "None of the labels";
}

/** Return the order of labels in a card: by how far their probabilities are above their thresholds. */
function ranked(record, labels) {
  const above = (index) => record.probabilities[index] - labels[index].threshold;
  return labels.map((_, index) => index).sort((a, b) => above(b) - above(a));
}

/** Return a bar of a probability with a mark at its threshold. */
function bar(probability, threshold, isDecided) {
  const x = (share) => (100 * share).toFixed(1);
  return svg("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "rail", y: 2, width: 100, height: 6 }),
    svg("rect", { class: isDecided ? "yes" : "no", y: 2, width: x(probability), height: 6 }),
    svg("rect", { class: "mark", x: Math.min(x(threshold), 99), width: 1, height: 10 }));
}

/** Return a row of the table of probabilities. */
function probabilityRow(record, label, index) {
  const probability = record.probabilities[index], yes = Boolean(record.decisions?.[index]);
  const answer = record.decisions?.length ? (yes ? "yes" : "no") : "–";
  return html("tr", yes ? { class: "decided" } : {},
    html("th", { scope: "row" }, label.name, ...(label.meaning ? [html("small", {}, label.meaning)] : [])),
    html("td", { class: "number" }, percent(probability)),
    html("td", { class: "bars" }, bar(probability, label.threshold, yes),
      html("small", {}, `Threshold ${percent(label.threshold)}. ${label.sentence}`)),
    html("td", {}, answer));
}

/** Return the table of probabilities; labels far below their thresholds are folded away. */
function probabilityTable(record, labels) {
  const order = ranked(record, labels);
  const table = (indices) => {
    const heads = ["Label", "Proba\u00adbility", "Threshold, and what it means", "Pre\u00addicted"].map((name, index) =>
      html("th", { scope: "col", ...(index === 1 ? { class: "number" } : {}) }, name));
    const widths = html("colgroup", {}, ...["label", "number", "bars", "answer"].map((name) => html("col", { class: name })));
    return html("table", { class: "probabilities" }, widths, html("thead", {}, html("tr", {}, ...heads)),
      html("tbody", {}, ...indices.map((index) => probabilityRow(record, labels[index], index))));
  };
  if (order.length <= MOST_SHOWN + 2) return [table(order)];
  const rest = order.slice(MOST_SHOWN);
  return [table(order.slice(0, MOST_SHOWN)),
    html("details", {}, html("summary", {}, `${rest.length} labels further below their thresholds`), table(rest))];
}

/** Return a list of findings, each with its severity in words and its code. */
function findingList(record) {
  return html("ul", { class: "findings", "aria-label": "Findings" }, ...record.findings.map(({ severity, code, sentence }) =>
    html("li", { class: severity }, html("span", {}, html("b", {}, `${SEVERITIES[severity]}: `), sentence), html("code", {}, code))));
}

/** Describe an ECG to those who do not see it. */
function describe(record, drawing, labels) {
  const spans = LEADS.map((lead) => {
    const signal = drawing.signal[lead];
    let [low, high] = [Infinity, -Infinity];
    for (const value of signal) { if (value < low) low = value; if (value > high) high = value; }
    return `${lead} ${high >= low ? (high - low).toFixed(1) : "missing"}`;
  });
  return `12-lead ECG of ${fileName(record.path)}, ${drawing.seconds.toFixed(1)} seconds at 25 mm/s. ` +
    `Predicted: ${outcome(record, labels)}. Peak-to-peak voltage of the leads in mV: ${spans.join(", ")}.`;
}

/** Return in words which parts of the signal move a label most. */
function explained(explanation, chosen, record, labels) {
  const name = labels[chosen.label].name, probability = sigmoid(chosen.logit);
  const best = (values) => values.reduce((top, value, index) => (value > values[top] ? index : top), 0);
  const time = best(chosen.time), lead = best(chosen.leads);
  const without = (fall) => percent(sigmoid(chosen.logit - fall));
  const isPart = Math.abs(probability - record.probabilities[chosen.label]) > 0.005;  // of a longer recording
  const start = `${isPart ? "In the part that is drawn, " : ""}${name} has a probability of ${percent(probability)}. `;
  const middle = ((time + 0.5) * explanation.step).toFixed(1);
  const inTime = chosen.time[time] > 0.01
    ? `Without ${explanation.window} s of signal around ${middle} s it would be about ${without(chosen.time[time])}, ` : "No part in time speaks for it, ";
  const inLeads = chosen.leads[lead] > 0.01
    ? `and without lead ${BASIS[lead]} ${without(chosen.leads[lead])}.` : "and no single lead does.";
  return start + inTime + inLeads;
}

/** Return bars of the importance of each lead, to the right where the lead speaks for the label. */
function leadBars(chosen) {
  const largest = Math.max(...chosen.leads.map(Math.abs), STRONG);
  const rows = chosen.leads.map((value, index) => {
    const size = 48 * Math.abs(value) / largest;
    return html("tr", {}, html("th", { scope: "row" }, BASIS[index]), html("td", {},
      svg("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
        svg("rect", { class: value > 0 ? "for" : "against", x: value > 0 ? 50 : 50 - size, y: 1, width: size, height: 8 }),
        svg("rect", { class: "axis", x: 49.7, width: 0.6, height: 10 }))),
      html("td", { class: "number" }, percent(sigmoid(chosen.logit - value))));
  });
  const heads = ["Lead", "Importance", "Without it"].map((name) => html("th", { scope: "col" }, name));
  return html("table", { class: "leads" }, html("thead", {}, html("tr", {}, ...heads)), html("tbody", {}, ...rows));
}

/** The drawing of one card, with its controls. */
class Plot {
  constructor(record, drawing, labels) {
    this.record = record; this.drawing = drawing; this.labels = labels;
    this.zoom = 0;  // 0 fits the width of the card
    this.choice = { layout: innerWidth < 700 ? "6x2" : "3x4", reconstruction: false, importance: null };
    this.chosen = drawing.explanation?.labels[0] ?? null;
    if (this.chosen) this.choice.importance = this.chosen.time;
    this.text = describe(record, drawing, labels);
    this.frame = html("div", { class: "frame", tabindex: "0", role: "group", "aria-label": `ECG of ${fileName(record.path)}, scrollable` });
    this.words = html("p", { class: "words" });
    this.bars = html("div", { class: "lead-bars" });
    this.legend = html("p", { class: "legend" });
  }

  /** Draw again after a change. */
  draw() {
    const { sheet, width, gain } = paper(this.drawing, this.choice, this.text);
    this.gain = gain;
    sheet.style.width = this.zoom ? `${width * this.zoom}mm` : "";
    sheet.classList.toggle("fit", !this.zoom);
    this.frame.replaceChildren(sheet);
    if (this.chosen) {
      this.words.textContent = explained(this.drawing.explanation, this.chosen, this.record, this.labels);
      this.bars.replaceChildren(leadBars(this.chosen));
    }
    this.legend.replaceChildren(...this.legendParts());
  }

  legendParts() {
    const key = (kind, text) => html("span", {}, html("i", { class: kind }), text);
    const { reconstruction } = this.drawing;
    const parts = this.gain === GAINS[0] ? [] : [html("b", {}, `Drawn at ${this.gain} mm/mV because of high voltages.`)];
    if (this.choice.importance) {
      const name = this.labels[this.chosen.label].name;
      parts.push(key("for", `speaks for ${name}`), key("against", `speaks against ${name}`));
    }
    if (this.choice.reconstruction && reconstruction) {
      parts.push(key("reconstruction", "reconstructed from the rest of the signal"), key("error", "its local error"));
    }
    if (this.drawing.seconds > LONGEST + 0.1) parts.push(html("b", {}, `The first ${LONGEST} s are drawn.`));
    parts.push(html("span", {}, this.drawing.isRead ? "Signal as read, each lead around its median."
      : "Signal as the model reads it, each lead around its median."));
    return parts;
  }

  /** Return the controls above the paper. */
  controls() {
    const layout = html("select", {}, ...Object.entries(LAYOUTS).map(([value, name]) => html("option", { value }, name)));
    layout.value = this.choice.layout;
    layout.onchange = () => { this.choice.layout = layout.value; this.draw(); };
    const zoom = html("select", {}, ...[["0", "fit"], ["1", "true mm"], ["1.5", "150 %"], ["2", "200 %"], ["3", "300 %"]]
      .map(([value, name]) => html("option", { value }, name)));
    zoom.onchange = () => { this.zoom = Number(zoom.value); this.draw(); };
    const parts = [html("label", {}, "Layout ", layout), html("label", {}, "Zoom ", zoom)];
    if (this.drawing.reconstruction) {
      const box = html("input", { type: "checkbox" });
      box.onchange = () => { this.choice.reconstruction = box.checked; this.draw(); };
      parts.push(html("label", {}, box, " Reconstruction"));
    }
    if (this.chosen) parts.push(html("label", {}, "Explain ", this.chooser()));
    return html("div", { class: "tools" }, ...parts);
  }

  /** Return the choice of the label that is explained. */
  chooser() {
    const { labels } = this.drawing.explanation;
    const chooser = html("select", {}, ...labels.map(({ label }, index) => html("option", { value: index }, this.labels[label].name)),
      html("option", { value: "" }, "nothing"));
    chooser.onchange = () => {
      this.choice.importance = chooser.value === "" ? null : labels[chooser.value].time;
      if (chooser.value !== "") this.chosen = labels[chooser.value];
      this.draw();
    };
    return chooser;
  }

  /** Return the explanation in words, or nothing. */
  explanation() {
    if (!this.chosen) return [];
    return [html("section", { class: "explanation" }, html("h4", {}, "Where the prediction comes from"), this.words, this.bars,
      html("p", { class: "hint" }, "Each part is removed by itself: 0.4 s of all leads, or one lead. I and II are removed together with their contribution to the other limb leads."))];
  }
}

/** Return the card of a record without its drawing. `id` is its number in the page. */
function makeCard(record, id, labels) {
  const title = html("h3", { id: `title-${id}`, tabindex: "-1" }, fileName(record.path));
  const facts = [...(folderOf(record.path) ? [folderOf(record.path)] : []), ...(record.status === "failed" ? []
    : [`${record.seconds} s`, `${record.fs} Hz`, ...(record.rmse == null ? [] : [`reconstruction error ${record.rmse.toFixed(2)} mV`])])];
  const card = html("article", { class: `card ${record.status}`, id: `card-${id}`, "aria-labelledby": `title-${id}` },
    html("header", {}, title, html("p", { class: "facts" }, facts.join(" · "))));
  if (record.status !== "failed") {
    card.append(html("p", { class: "outcome" }, html("span", {}, "Predicted: "), html("b", {}, outcome(record, labels))));
  }
  if (record.findings.length) card.append(findingList(record));
  if (record.status === "failed") return card;
  card.append(html("div", { class: "ecg" }, html("div", { class: "blank" }, "The ECG is drawn when it is in view.")),
    html("div", { class: "below" }, html("section", {}, html("h4", {}, "Calibrated probabilities"), ...probabilityTable(record, labels))));
  return card;
}

/** Draw the ECG of a card from its packed text. */
async function fillCard(card, record, text, labels) {
  const place = card.querySelector(".ecg");
  if (!text) {
    place.replaceChildren(html("p", { class: "hint" }, record.omitted
      ? "The ECG is left out to keep this page small. Make a report of fewer files to see it." : "There is no ECG to draw."));
    return null;
  }
  const plot = new Plot(record, traces(await unpack(text)), labels);
  plot.draw();
  place.replaceChildren(plot.controls(), plot.frame, plot.legend);
  card.querySelector(".below").append(...plot.explanation());
  return plot;
}
