// An ECG on clinical paper as SVG: 25 mm a second, 10 mm a millivolt, one unit a millimeter. Where that needs too much
// paper, it is half of that or less, as recorders do.

const MM_PER_SECOND = 25, GAINS = [10, 5, 2.5, 1, 0.5];  // mm a millivolt, the usual gain first
const LEFT = 10, RIGHT = 2, TOP = 2, BOTTOM = 3, GAP = 2;  // margins of the sheet, in mm
const LEAST_ROW = 20, MEAN_ROW = 36;  // least height of a row, and largest mean height of rows, in mm
const MOST_REACH = 40;  // largest distance of a trace from its zero, in mm
const LONGEST = 10;  // seconds that are drawn
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
    fs: header.fs, seconds: rows[0].length / header.fs, signal: byLead, computed: header.computed,
    isRead: header.is_read, explanation: header.explanation,
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

/** Return the highest and the lowest voltage of a row. */
function extremes(row, drawing) {
  let [up, down] = [0, 0];
  for (const span of row) {
    const signal = drawing.signal[span.lead];
    const [start, stop] = samples(span, drawing.fs, signal.length);
    for (let i = start; i < stop; i++) {
      if (signal[i] > up) up = signal[i];
      if (signal[i] < down) down = signal[i];
    }
  }
  return [up, down];
}

/** Return the gain in mm a millivolt, and for each row its height and how far its zero is from its upper edge, in mm. */
function measure(rows, drawing) {
  const voltages = rows.map((row) => extremes(row, drawing));
  for (const gain of GAINS) {
    const reaches = voltages.map(([up, down]) => [up * gain, -down * gain].map((mm) => Math.min(mm, MOST_REACH)));
    const sizes = reaches.map(([above, below]) => {
      const top = Math.max(above, 10) + 4;
      return { top, height: Math.max(top + Math.max(below, 4) + 1.5, LEAST_ROW) };
    });
    const total = sizes.reduce((sum, size) => sum + size.height, 0);
    const fits = voltages.flat().every((value) => Math.abs(value) * gain <= MOST_REACH) && total <= MEAN_ROW * rows.length;
    if (fits || gain === GAINS.at(-1)) return { gain, sizes, total };
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
  const largest = Math.max(...importance.map(Math.abs), 1e-9), boxes = [];
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
  const { gain, sizes, total } = measure(rows, drawing);
  const width = LEFT + RIGHT + Math.max(...rows.map(seconds)) * MM_PER_SECOND;
  const tall = Math.ceil((TOP + BOTTOM + total + GAP * rows.length) / 5) * 5;
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
  let top = TOP;
  rows.forEach((row, index) => {
    const level = Math.round(top + sizes[index].top), bottom = top + sizes[index].height;
    over.append(svg("path", { class: "trace", d: `M1 ${level}h1v${-gain}h5v${gain}h1` }));
    let x = LEFT;
    for (const span of row) {
      drawSpan({ under, over }, drawing, choice, span, { x, level, gain, top, bottom });
      x += (span.to - span.from) * MM_PER_SECOND;
    }
    top = bottom + GAP;
  });
  const words = `${MM_PER_SECOND} mm/s   ${gain} mm/mV   ${Math.round(drawing.fs)} Hz`;
  sheet.append(svg("text", { class: "scale", x: (width - RIGHT - 1).toFixed(2), y: tall - 1.5, "text-anchor": "end" }, words));
  return { sheet, width, gain };
}

/** Return the length of a row, in seconds. */
function seconds(row) {
  return row.reduce((sum, span) => sum + span.to - span.from, 0);
}

/** Draw one lead of a row. `at` tells where its zero is, where its row begins and ends, and the gain. */
function drawSpan({ under, over }, drawing, choice, span, at) {
  if (choice.importance) under.append(...highlights(drawing.explanation, choice.importance, span, at));
  if (choice.reconstruction && drawing.reconstruction) {
    const { fs, signal, error } = drawing.reconstruction;
    over.append(
      svg("path", { class: "error", d: band(signal[span.lead], error[span.lead], fs, span, at) }),
      svg("path", { class: "reconstruction", d: line(signal[span.lead], fs, span, at) }),
    );
  }
  const computed = drawing.computed.includes(span.lead), { x, level, top } = at;
  over.append(
    svg("path", { class: computed ? "trace computed" : "trace", d: line(drawing.signal[span.lead], drawing.fs, span, at) }),
    svg("text", { class: "lead", x: (x + 1).toFixed(2), y: (top + 3.2).toFixed(2) }, computed ? `${span.lead} (computed)` : span.lead),
  );
  if (x > LEFT) over.append(svg("path", { class: "trace", d: `M${x.toFixed(2)} ${level - 2.5}V${level + 2.5}` }));
}
