// An ECG on clinical paper as SVG: 25 mm a second, 10 mm a millivolt, one unit a millimeter. Where that needs too much
// paper, it is half of that or less, as recorders do.

const MM_PER_SECOND = 25, GAINS = [10, 5, 2.5, 1, 0.5];  // mm a millivolt, the usual gain first
const LEFT = 10, RIGHT = 2, TOP = 2, BOTTOM = 6, GAP = 1.5;  // margins of the sheet and between traces, in mm
const LEAST_ROW = 20, MEAN_ROW = 36;  // least distance of two zeros, and largest mean one, in mm
const LABEL = { width: 14, height: 3.5, least: 6 };  // room for the name of a lead, and how far above its zero, in mm
const BIN = 2.5;  // width of the parts in which rows are kept apart, in mm
const MOST_REACH = 40;  // largest distance of a trace from its zero, in mm
const LONGEST = 10;  // seconds that are drawn
const STRONG = 0.5;  // fall of the logit that is shown in full color; a larger one takes its place
const DERIVED = { III: [-1, 1], aVR: [-0.5, -0.5], aVL: [1, -0.5], aVF: [-0.5, 1] };  // of I and II
const LEADS = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"];
const BASIS = ["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"];
const COLUMNS = [["I", "II", "III"], ["aVR", "aVL", "aVF"], ["V1", "V2", "V3"], ["V4", "V5", "V6"]];
const LAYOUTS = {
  "3x4": "3 × 4 and lead II",
  "6x2": "6 × 2 and lead II",
  "12x1": "12 × 1",
};

/** Return a new element of HTML. Texts become text nodes, so no text is read as HTML. */
function html(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Return a new element of SVG. */
function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Decode what drawing.py packed: a header, and arrays of rows in mV with NaN for missing samples. */
async function unpack(text) {
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  let at = 4 + new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, at)));
  const arrays = header.shapes.map(([nRows, nSamples]) => {
    const size = nRows * nSamples, low = at, high = at + size;
    at += 2 * size;
    return Array.from({ length: nRows }, (_, row) => {
      const samples = new Float32Array(nSamples);
      for (let i = 0, value = 0; i < nSamples; i++) {
        const index = row * nSamples + i;
        value = ((value + (bytes[low + index] | (bytes[high + index] << 8))) << 16) >> 16;
        samples[i] = value === -32768 ? NaN : value * header.step;
      }
      return samples;
    });
  });
  return { header, arrays };
}

/** Return a lead around its median. */
function centered(signal) {
  const sorted = signal.filter((value) => !Number.isNaN(value)).sort();
  const median = sorted[sorted.length >> 1] ?? 0;
  return signal.map((value) => value - median);
}

/** Return the traces of a drawing: signals of all 12 leads by name, and the reconstruction with its error. */
function traces({ header, arrays }) {
  const [rows, reconstructed, error] = arrays;
  const byLead = Object.fromEntries(header.leads.map((lead, index) => [lead, rows[index]]));
  for (const [lead, [one, two]] of Object.entries(DERIVED)) {
    byLead[lead] ??= centered(byLead.I.map((value, i) => one * value + two * byLead.II[i]));
  }
  const layer = (array) => array && Object.fromEntries(LEADS.map((lead, index) => [lead, array[index]]));
  return {
    fs: header.fs, seconds: rows[0].length / header.fs, signal: byLead,
    computed: header.computed, reconstructed: header.reconstructed, isRead: header.is_read, explanation: header.explanation,
    reconstruction: reconstructed && { fs: header.reconstruction.fs, signal: layer(reconstructed), error: layer(error) },
  };
}

/** Return the rows of a layout: in each, the leads with the seconds from and to which they are drawn. */
function rowsOf(layout, seconds) {
  const total = Math.min(seconds, LONGEST);
  const strip = (from, to) => [{ lead: "II", from, to, strip: true }];
  if (layout === "12x1") return LEADS.map((lead) => [{ lead, from: 0, to: total }]);
  if (layout === "6x2") {
    const half = total / 4;
    const rows = LEADS.slice(0, 6).map((lead, i) => [
      { lead, from: 0, to: half }, { lead: LEADS[6 + i], from: half, to: 2 * half },
    ]);
    return [...rows, strip(0, 2 * half), strip(2 * half, 4 * half)];
  }
  const quarter = total / 4;
  const rows = [0, 1, 2].map((row) => COLUMNS.map((leads, column) => (
    { lead: leads[row], from: column * quarter, to: (column + 1) * quarter })));
  return [...rows, strip(0, total)];
}

/** Return the indices of the samples of a span, one more than the span, so that a trace reaches the next one. */
function samples(span, fs, length) {
  return [Math.round(span.from * fs), Math.min(Math.round(span.to * fs) + 1, length)];
}

/** Return the highest and lowest voltage of a row in each part of its width, from the left margin on. */
function extremes(row, drawing) {
  const nBins = Math.ceil(seconds(row) * MM_PER_SECOND / BIN) + 1, up = new Float64Array(nBins), down = new Float64Array(nBins);
  let x0 = 0;
  for (const span of row) {
    const signal = drawing.signal[span.lead];
    const [start, stop] = samples(span, drawing.fs, signal.length);
    for (let i = start; i < stop; i++) {
      const bin = Math.floor((x0 + (i / drawing.fs - span.from) * MM_PER_SECOND) / BIN);
      if (signal[i] > up[bin]) up[bin] = signal[i];
      if (-signal[i] > down[bin]) down[bin] = -signal[i];
    }
    x0 += (span.to - span.from) * MM_PER_SECOND;
  }
  return { up, down };
}

/** Return how far above its zero the name of a lead stands, in mm: above the trace beside it. */
function labelHeight(up, x0) {
  const [first, last] = [Math.floor(x0 / BIN), Math.floor((x0 + LABEL.width) / BIN)];
  return Math.max(LABEL.least, ...up.subarray(first, last + 1)) + 1;
}

/** Return how far a row reaches above and below its zero in each part of its width, in mm, and where its names stand. */
function reach(row, { up, down }, gain) {
  const mm = (voltages) => voltages.map((value) => Math.min(value * gain, MOST_REACH));
  const reaches = { up: mm(up), down: mm(down), labels: [] };
  let x0 = 0;
  for (const span of row) {
    const label = labelHeight(reaches.up, x0);
    reaches.labels.push(label);
    for (let bin = Math.floor(x0 / BIN); bin * BIN < x0 + LABEL.width && bin < reaches.up.length; bin++) {
      reaches.up[bin] = Math.max(reaches.up[bin], label + LABEL.height);
    }
    x0 += (span.to - span.from) * MM_PER_SECOND;
  }
  return reaches;
}

/** Return the levels of the zeros of all rows, in mm from the upper edge, so that no traces meet. */
function levelsOf(reaches) {
  const levels = [Math.ceil(TOP + Math.max(...reaches[0].up, GAINS[0]))];
  for (let i = 1; i < reaches.length; i++) {
    const [above, below] = [reaches[i - 1], reaches[i]];
    const apart = below.up.map((mm, bin) => mm + (above.down[bin] ?? 0) + GAP);
    levels.push(levels[i - 1] + Math.ceil(Math.max(LEAST_ROW, ...apart)));
  }
  return levels;
}

/** Return the gain in mm a millivolt, the height of the sheet, and for each row where it is. */
function measure(rows, drawing) {
  const voltages = rows.map((row) => extremes(row, drawing));
  for (const gain of GAINS) {
    const reaches = rows.map((row, index) => reach(row, voltages[index], gain));
    const levels = levelsOf(reaches), last = levels.at(-1) + Math.max(...reaches.at(-1).down);
    const isHigh = voltages.some(({ up, down }) => Math.max(...up, ...down) * gain > MOST_REACH);
    if ((isHigh || last > MEAN_ROW * rows.length) && gain !== GAINS.at(-1)) continue;
    const tall = Math.ceil((last + BOTTOM) / 5) * 5;
    const edges = [TOP, ...levels.slice(1).map((level, i) => (level + levels[i]) / 2), last + 2];
    const places = levels.map((level, i) => ({ level, top: edges[i] + 0.5, bottom: edges[i + 1] - 0.5, labels: reaches[i].labels }));
    return { gain, places, tall };
  }
}

/** Return the path of samples, with a new beginning after each gap. */
function line(signal, fs, span, { x: x0, level, gain }) {
  const [start, stop] = samples(span, fs, signal.length), parts = [];
  let open = false;
  for (let i = start; i < stop; i++) {
    const value = signal[i];
    if (Number.isNaN(value)) { open = false; continue; }
    const x = x0 + (i / fs - span.from) * MM_PER_SECOND;
    parts.push(`${open ? "L" : "M"}${x.toFixed(2)} ${height(value, level, gain)}`);
    open = true;
  }
  return parts.join("");
}

/** Return the height of a voltage on the sheet, no farther from its zero than a row may reach. */
function height(value, level, gain) {
  const mm = Math.max(-MOST_REACH, Math.min(MOST_REACH, value * gain));
  return (level - mm).toFixed(2);
}

/** Return the outline of a band around a signal. */
function band(signal, error, fs, span, { x: x0, level, gain }) {
  const [start, stop] = samples(span, fs, signal.length), there = [], back = [];
  for (let i = start; i < stop; i++) {
    const x = (x0 + (i / fs - span.from) * MM_PER_SECOND).toFixed(2);
    there.push(`${x} ${height(signal[i] + error[i], level, gain)}`);
    back.push(`${x} ${height(signal[i] - error[i], level, gain)}`);
  }
  return there.length ? `M${there.join("L")}L${back.reverse().join("L")}Z` : "";
}

/** Return the ruling of the paper: lines every `step` mm in one path. */
function ruling(width, tall, step, left) {
  let path = "";
  for (let x = left % step; x <= width + 1e-6; x += step) path += `M${x.toFixed(2)} 0V${tall}`;
  for (let y = 0; y <= tall + 1e-6; y += step) path += `M0 ${y}H${width}`;
  return path;
}

/** Return the parts of a row in which removing the signal moves the chosen label, as rectangles. */
function highlights(explanation, importance, span, { x: x0, top, bottom }) {
  const largest = Math.max(...importance.map(Math.abs), STRONG), boxes = [];
  importance.forEach((value, index) => {
    const from = Math.max(index * explanation.step, span.from);
    const to = Math.min((index + 1) * explanation.step, span.to);
    const strength = Math.abs(value) / largest;
    if (to - from < 1e-6 || strength < 0.15) return;
    boxes.push(svg("rect", {
      class: value > 0 ? "for" : "against", opacity: (0.55 * strength).toFixed(2),
      x: (x0 + (from - span.from) * MM_PER_SECOND).toFixed(2), y: top.toFixed(2),
      width: ((to - from) * MM_PER_SECOND).toFixed(2), height: (bottom - top).toFixed(2),
    }));
  });
  return boxes;
}

/**
 * Return the sheet of a drawing. `choice` has the layout, whether to draw the reconstruction, and the importance of
 * each time step, or null. `text` describes the ECG to those who do not see it.
 */
function paper(drawing, choice, text) {
  const rows = rowsOf(choice.layout, drawing.seconds);
  const { gain, places, tall } = measure(rows, drawing);
  const width = LEFT + RIGHT + Math.max(...rows.map(seconds)) * MM_PER_SECOND;
  const sheet = svg("svg", {
    class: "paper", role: "img", "aria-label": text, viewBox: `0 0 ${width.toFixed(2)} ${tall}`,
    width: `${width.toFixed(2)}mm`, height: `${tall}mm`,
  });
  const under = svg("g"), over = svg("g");
  sheet.append(
    svg("rect", { class: "sheet", width: width.toFixed(2), height: tall }),
    under,
    svg("path", { class: "fine", d: ruling(width, tall, 1, LEFT) }),
    svg("path", { class: "coarse", d: ruling(width, tall, 5, LEFT) }),
    over,
  );
  rows.forEach((row, index) => {
    const { level, labels, ...edges } = places[index];
    over.append(svg("path", { class: "trace", d: `M1 ${level}h1v${-gain}h5v${gain}h1` }));
    let x = LEFT;
    row.forEach((span, column) => {
      drawSpan({ under, over }, drawing, choice, span, { ...edges, x, level, gain, label: level - labels[column] });
      x += (span.to - span.from) * MM_PER_SECOND;
    });
  });
  const words = `${MM_PER_SECOND} mm/s   ${gain} mm/mV   ${Math.round(drawing.fs)} Hz`;
  sheet.append(svg("text", { class: "scale", x: (width - RIGHT - 1).toFixed(2), y: tall - 1.5, "text-anchor": "end" }, words));
  return { sheet, width, gain };
}

/** Return the length of a row, in seconds. */
function seconds(row) {
  return row.reduce((sum, span) => sum + span.to - span.from, 0);
}

/** Draw one lead of a row. `at` tells where its zero, its name and the edges of its row are, and the gain. */
function drawSpan({ under, over }, drawing, choice, span, at) {
  if (choice.importance) under.append(...highlights(drawing.explanation, choice.importance, span, at));
  if (choice.reconstruction && drawing.reconstruction) {
    const { fs, signal, error } = drawing.reconstruction;
    over.append(
      svg("path", { class: "error", d: band(signal[span.lead], error[span.lead], fs, span, at) }),
      svg("path", { class: "reconstruction", d: line(signal[span.lead], fs, span, at) }),
    );
  }
  const origin = ["computed", "reconstructed"].find((name) => drawing[name].includes(span.lead)), { x, level, label } = at;
  over.append(
    svg("path", { class: origin ? "trace unmeasured" : "trace", d: line(drawing.signal[span.lead], drawing.fs, span, at) }),
    svg("text", { class: "lead", x: (x + 1).toFixed(2), y: label.toFixed(2) }, origin ? `${span.lead} (${origin})` : span.lead),
  );
  if (x > LEFT) over.append(svg("path", { class: "trace", d: `M${x.toFixed(2)} ${level - 2.5}V${level + 2.5}` }));
}
