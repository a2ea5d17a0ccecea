"use strict";
// The explorer. Rows are never objects: each column is a typed array, and each plot has two float arrays of the rows
// that pass the filters, those of the selection first. A frame of a plot is one pass over these.

const META = JSON.parse(document.getElementById("meta").textContent);
const N = META.n;
const COLUMNS = new Map(META.columns.map((column) => [column.name, column]));
// Flags with a column of their own that have no bit in `flags`.
const ALONE = META.columns.filter((column) => column.flag && !META.bits.some((flag) => flag.name === column.name));
const BIN = 2; // CSS pixels of a cell of the density
const POINTS = 10000; // with fewer stars in view each is a point
const PAGE_ROWS = 15;
const MARGIN = { left: 58, right: 10, top: 8, bottom: 40 };
let ROWS = null; // row of the catalogue of each row of the page, where not all are here
const TIMES = { start: performance.now(), frames: [] };
const ARRAYS = {
  uint8: Uint8Array, uint16: Uint16Array, int16: Int16Array, uint32: Uint32Array, int32: Int32Array,
  int64: BigInt64Array, float32: Float32Array, float64: Float64Array,
};
const $ = (id) => document.getElementById(id);
const number = d3.format(",");

// ---- data

function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

// First bytes of all values, then second bytes of all... (lamostvac.explorer.packed).
async function unpack(column) {
  column.values = await unpackNumbers("column-" + column.name, column.dtype);
}

// The bytes of an element of the page, which goes.
async function unzipped(id) {
  const element = $(id);
  const stream = new Blob([bytesOf(element.textContent)]).stream().pipeThrough(new DecompressionStream("gzip"));
  element.remove();
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function unpackNumbers(id, dtype) {
  const planes = await unzipped(id), array = new ARRAYS[dtype](N), width = array.BYTES_PER_ELEMENT, bytes = new Uint8Array(array.buffer);
  for (let k = 0; k < width; k++) {
    for (let i = 0, at = k, from = k * N; i < N; i++, at += width) bytes[at] = planes[from + i];
  }
  return array;
}

function unpackAll(names) {
  const todo = [...new Set(names)].map((name) => COLUMNS.get(name)).filter((column) => column && !column.values);
  return Promise.all(todo.map(unpack));
}

const isNumber = (column) => !column.texts && column.dtype !== "int64" && !column.flag;
const isMissing = (column, value) =>
  value !== value || (column.null !== null && Number(value) === column.null) || (column.texts && column.texts[value] === "");

function shown(column, row) {
  const value = column.values[row];
  if (column.texts) return column.texts[value];
  if (isMissing(column, value)) return "";
  return column.dtype.startsWith("float") ? String(Number(value.toPrecision(column.digits))) : String(value);
}

const axisLabel = (column) =>
  column.words + (column.words === column.name ? "" : ", " + column.name) + (column.unit ? " (" + column.unit + ")" : "");

// ---- state: which rows pass the filters, which of them every plot's selection holds

const order = new Uint32Array(N); // the selection from the front, the others that pass from the back
const state = { selected: N, passing: N, star: -1, page: 0, sort: null, descending: false, rows: order, cone: null, ready: false };
const plots = [];

function filters() {
  const subclass = COLUMNS.get("subclass"), wanted = $("subclass").value.trim();
  const types = new Set([...document.querySelectorAll("#types input:checked")].map((box) => box.value));
  const allowed = Uint8Array.from(COLUMNS.get("spectral_type").texts, (name) => types.has(name));
  const found = { allowed, set: 0, unset: $("good").checked ? -1 : 0, alone: [], subclass: null, low: -Infinity, high: Infinity };
  if (subclass && wanted) found.subclass = Uint8Array.from(subclass.texts, (text) => text.startsWith(wanted));
  for (const choice of document.querySelectorAll("#flags select")) {
    if (choice.value === "any") continue;
    if (choice.dataset.bit === undefined) found.alone.push([COLUMNS.get(choice.name).values, Number(choice.value)]);
    else if (choice.value === "1") found.set |= 1 << choice.dataset.bit;
    else found.unset |= 1 << choice.dataset.bit;
  }
  if ($("recommended").checked) found.alone.push([COLUMNS.get("recommended").values, 1]);
  if ($("best").checked) found.alone.push([COLUMNS.get("best_spectrum").values, 1]);
  if ($("snr-min").value !== "") found.low = Number($("snr-min").value);
  if ($("snr-max").value !== "") found.high = Number($("snr-max").value);
  found.snr = found.low > -Infinity || found.high < Infinity;
  return found;
}

function inside(selection, x, y) {
  if (!(x >= selection.x0 && x <= selection.x1 && y >= selection.y0 && y <= selection.y1)) return false;
  if (selection.box) return true;
  const points = selection.points;
  let odd = false;
  for (let i = 0, j = points.length - 1; i < points.length; j = i++) {
    const [xi, yi] = points[i], [xj, yj] = points[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) odd = !odd;
  }
  return odd;
}

function update() {
  const started = performance.now();
  colourBy($("colour").value);
  const want = filters(), flags = COLUMNS.get("flags").values, types = COLUMNS.get("spectral_type").values;
  const snr = COLUMNS.get(META.snr).values, subclass = COLUMNS.get("subclass")?.values;
  const active = plots.filter((plot) => plot.selection)
    .map((plot) => [plot.selection, COLUMNS.get(plot.x), COLUMNS.get(plot.y)]);
  let front = 0, back = N;
  rows: for (let row = 0; row < N; row++) {
    const flag = flags[row];
    if ((flag & want.set) !== want.set || (flag & want.unset) !== 0 || !want.allowed[types[row]]) continue;
    if (want.snr && !(snr[row] >= want.low && snr[row] <= want.high)) continue;
    if (want.subclass && !want.subclass[subclass[row]]) continue;
    for (const [values, value] of want.alone) if (values[row] !== value) continue rows;
    let held = !(state.cone && !(separation(state.cone, row) <= state.cone.radius));
    for (const [selection, x, y] of active) {
      const a = x.values[row], b = y.values[row];
      if (a === x.null || b === y.null || !inside(selection, a, b)) { held = false; break; }
    }
    if (held) order[front++] = row;
    else order[--back] = row;
  }
  state.selected = front;
  state.passing = front + N - back;
  state.rows = order.subarray(0, front);
  state.page = 0;
  sortRows();
  for (const plot of plots) { gather(plot); draw(plot); }
  showStatus();
  showTable();
  $("clear").disabled = !selecting();
  remember();
  TIMES.update = performance.now() - started;
}

const selecting = () => Boolean(state.cone) || plots.some((plot) => plot.selection);

function showStatus() {
  const parts = [`${number(selecting() ? state.selected : 0)} selected`, `${number(state.passing)} pass the filters`];
  let whole = `${number(N)} spectra`;
  if (N < META.n_rows) whole += `, evenly drawn from ${number(META.n_rows)}`;
  if (META.rows) whole += ` with ${META.rows}`;
  $("status").textContent = [...parts, whole].join(" · ");
  $("legend").classList.toggle("whole", !selecting()); // nothing is grey
}

// ---- plots

const RAMP = new Uint32Array(256), GREYS = new Uint32Array(256), CSS_RAMP = [];
{
  const packed = (color) => { const { r, g, b } = d3.rgb(color); return (255 << 24) | (b << 16) | (g << 8) | r; };
  // Viridis from its lighter end to its darker one: dark is dense on white paper. Its yellow would vanish there.
  for (let i = 0; i < 256; i++) {
    CSS_RAMP[i] = d3.interpolateViridis(0.88 - 0.88 * (i / 255));
    RAMP[i] = packed(CSS_RAMP[i]);
    GREYS[i] = packed(d3.interpolateRgb("#dde2e7", "#8f9aa5")(i / 255));
  }
}

function makePlot(setting) {
  const plot = { ...setting, transform: d3.zoomIdentity, selection: null, timer: 0 };
  const root = d3.select("#plots").append("div").attr("class", "plot");
  const head = root.append("div");
  head.append("h2").text(plot.title);
  plot.choices = {};
  for (const axis of ["x", "y"]) {
    const choice = head.append("label").text(axis + " ").append("select")
      .attr("aria-label", `${plot.title}: ${axis} axis`)
      .on("change", function () { plot[axis] = this.value || null; plot.selection = null; fit(plot); update(); });
    if (!plot[axis]) choice.append("option").attr("value", "").text("(none)");
    choice.selectAll("option.column").data(META.columns.filter(isNumber)).join("option").attr("class", "column")
      .attr("value", (column) => column.name).text((column) => column.name)
      .property("selected", (column) => column.name === plot[axis]);
    plot.choices[axis] = choice.node();
  }
  const area = root.append("div").attr("class", "area");
  plot.area = area.node();
  plot.canvas = area.append("canvas").node();
  plot.cells = document.createElement("canvas");
  const svg = area.append("svg").attr("role", "group").attr("aria-label", plot.title);
  const clip = "clip-" + plots.length;
  plot.clip = svg.append("clipPath").attr("id", clip).append("rect");
  plot.axisX = svg.append("g");
  plot.axisY = svg.append("g");
  plot.labelX = svg.append("text").attr("text-anchor", "middle");
  plot.labelY = svg.append("text").attr("text-anchor", "middle");
  plot.message = svg.append("text").attr("class", "message");
  const marks = svg.append("g").attr("clip-path", `url(#${clip})`);
  plot.outline = marks.append("path").attr("class", "outline");
  plot.mark = marks.append("circle").attr("class", "star-mark").attr("r", 8).attr("visibility", "hidden");
  plot.surface = svg.append("rect").attr("class", "surface").attr("tabindex", 0).attr("role", "application");
  const foot = root.append("div").attr("class", "count");
  plot.count = foot.append("span");
  foot.append("button").attr("type", "button").text("whole").attr("title", "Show everything again (key 0)")
    .on("click", () => plot.surface.call(plot.zoom.transform, d3.zoomIdentity));
  foot.append("button").attr("type", "button").text("select view").attr("title", "Select what this plot shows (key s)")
    .on("click", () => selectView(plot));
  plot.zoom = d3.zoom().scaleExtent([0.3, 5000]).clickDistance(4)
    .filter((event) => event.type === "wheel" || event.type === "dblclick" || (mode() === "move" && !event.button))
    .on("zoom", (event) => { plot.transform = event.transform; schedule(plot); remember(); });
  plot.surface.call(plot.zoom).on("dblclick.zoom", null)
    .call(dragged(plot))
    .on("click", (event) => { if (!event.defaultPrevented) choose(nearestRow(plot, d3.pointer(event))); })
    .on("keydown", (event) => pressed(plot, event));
  plots.push(plot);
  new ResizeObserver(() => resize(plot)).observe(plot.area);
  return plot;
}

const mode = () => document.querySelector("#tools input:checked").value;

// Limits that hold 99.8 percent of the values, with a margin: a single wild value must not make the plot empty.
function limits(column, tail = 0.001, widening = 0.04) {
  if (!column) return [0, 1];
  const values = column.values, step = Math.max(1, Math.floor(N / 50000)), sample = [];
  for (let i = 0; i < N; i += step) if (!isMissing(column, values[i]) && isFinite(values[i])) sample.push(values[i]);
  if (!sample.length) return [0, 1];
  sample.sort((a, b) => a - b);
  let low = d3.quantileSorted(sample, tail), high = d3.quantileSorted(sample, 1 - tail);
  if (low === high) { low -= 0.5; high += 0.5; }
  const margin = widening * (high - low);
  return column.reversed ? [high + margin, low - margin] : [low - margin, high + margin];
}

// The axis in words, or by the column's name alone where there is no room for words.
function nameAxis(label, column, room) {
  label.text(column ? axisLabel(column) : "");
  if (!column) return;
  if (label.node().getComputedTextLength() > room) label.text(column.name + (column.unit ? ` (${column.unit})` : ""));
  label.append("title").text(column.description);
}

function fit(plot) {
  const x = COLUMNS.get(plot.x), y = COLUMNS.get(plot.y);
  plot.baseX = d3.scaleLinear(limits(x), [0, plot.width]);
  plot.baseY = d3.scaleLinear(limits(y), [plot.height, 0]);
  nameAxis(plot.labelX, x, plot.width);
  nameAxis(plot.labelY, y, plot.height);
  plot.surface.attr("aria-label", `${plot.title}: ${x ? axisLabel(x) : "nothing"} against ${y ? axisLabel(y) : "nothing"}`);
  plot.transform = d3.zoomIdentity;
  plot.surface.property("__zoom", d3.zoomIdentity);
}

function resize(plot) {
  const { clientWidth, clientHeight } = plot.area;
  if (!clientWidth || !clientHeight) return;
  const width = Math.max(40, clientWidth - MARGIN.left - MARGIN.right), height = Math.max(40, clientHeight - MARGIN.top - MARGIN.bottom);
  const { k, x, y } = plot.transform, before = plot.width ? [width / plot.width, height / plot.height] : [1, 1];
  plot.width = width;
  plot.height = height;
  const ratio = window.devicePixelRatio || 1;
  plot.canvas.width = Math.round(width * ratio);
  plot.canvas.height = Math.round(height * ratio);
  Object.assign(plot.canvas.style, { width: width + "px", height: height + "px", left: MARGIN.left + "px", top: MARGIN.top + "px" });
  plot.cells.width = Math.ceil(width / BIN);
  plot.cells.height = Math.ceil(height / BIN);
  plot.image = plot.cells.getContext("2d").createImageData(plot.cells.width, plot.cells.height);
  plot.chosen = new Uint32Array(plot.cells.width * plot.cells.height);
  plot.others = new Uint32Array(plot.chosen.length);
  plot.surface.attr("x", MARGIN.left).attr("y", MARGIN.top).attr("width", width).attr("height", height);
  plot.clip.attr("x", MARGIN.left).attr("y", MARGIN.top).attr("width", width).attr("height", height);
  plot.axisX.attr("transform", `translate(${MARGIN.left},${MARGIN.top + height})`);
  plot.axisY.attr("transform", `translate(${MARGIN.left},${MARGIN.top})`);
  plot.labelX.attr("x", MARGIN.left + width / 2).attr("y", clientHeight - 5);
  plot.labelY.attr("transform", `translate(14,${MARGIN.top + height / 2}) rotate(-90)`);
  plot.message.attr("x", MARGIN.left + width / 2).attr("y", MARGIN.top + height / 2);
  plot.zoom.extent([[0, 0], [width, height]]);
  if (!plot.baseX) return;
  plot.baseX.range([0, width]);
  plot.baseY.range([height, 0]);
  nameAxis(plot.labelX, COLUMNS.get(plot.x), width);
  nameAxis(plot.labelY, COLUMNS.get(plot.y), height);
  plot.transform = d3.zoomIdentity.translate(x * before[0], y * before[1]).scale(k);
  plot.surface.property("__zoom", plot.transform);
  if (plot.xs) draw(plot);
}

// The plot's own arrays of the rows that pass and have both values; missing ones are left out here, not in each frame.
function gather(plot) {
  const x = COLUMNS.get(plot.x), y = COLUMNS.get(plot.y);
  if (!plot.xs) { plot.xs = new Float32Array(N); plot.ys = new Float32Array(N); plot.rows = new Uint32Array(N); }
  plot.n = plot.nChosen = 0;
  if (!x || !y) return;
  const a = x.values, b = y.values, nullX = x.null, nullY = y.null;
  const third = state.colour?.values;
  if (third && !plot.third) plot.third = new Float32Array(N);
  let n = 0;
  const take = (from, to) => {
    for (let k = from; k < to; k++) {
      const row = order[k], u = a[row], v = b[row];
      if (u !== u || v !== v || u === nullX || v === nullY) continue;
      plot.xs[n] = u;
      plot.ys[n] = v;
      if (third) plot.third[n] = third[row] === state.colour.null ? NaN : third[row];
      plot.rows[n++] = row;
    }
  };
  take(0, state.selected);
  plot.nChosen = n;
  take(N - state.passing + state.selected, N);
  plot.n = n;
}

function schedule(plot) {
  if (!plot.timer) plot.timer = requestAnimationFrame(() => { plot.timer = 0; draw(plot); });
}

const inView = new Uint32Array(POINTS);

// Counts rows from..to in the cells of `counts`; returns how many are in view.
function count(plot, from, to, counts, place, met) {
  const { xs, ys } = plot, nx = plot.cells.width, ny = plot.cells.height, { x0, y0, kx, ky } = place;
  counts.fill(0);
  for (let k = from; k < to; k++) {
    const i = (xs[k] - x0) * kx, j = (ys[k] - y0) * ky;
    if (i >= 0 && i < nx && j >= 0 && j < ny) {
      counts[(j | 0) * nx + (i | 0)]++;
      if (met < POINTS) inView[met] = k;
      met++;
    }
  }
  return met;
}

function scales(plot) {
  return [plot.transform.rescaleX(plot.baseX), plot.transform.rescaleY(plot.baseY)];
}

function draw(plot) {
  const started = performance.now();
  const [x, y] = scales(plot), [x0, x1] = [x.invert(0), x.invert(plot.width)], [y0, y1] = [y.invert(0), y.invert(plot.height)];
  const place = { x0, y0, kx: plot.width / BIN / (x1 - x0), ky: plot.height / BIN / (y1 - y0) };
  const nChosen = count(plot, 0, plot.nChosen, plot.chosen, place, 0);
  const nView = count(plot, plot.nChosen, plot.n, plot.others, place, nChosen);
  const context = plot.canvas.getContext("2d"), ratio = plot.canvas.width / plot.width;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, plot.canvas.width, plot.canvas.height);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  plot.dense = nView > POINTS;
  if (plot.dense) drawCells(plot, context, place);
  else drawPoints(plot, context, place, nView, nChosen);
  plot.nView = nView;
  plot.nChosenView = nChosen;
  drawFrame(plot, x, y);
  showLegend();
  TIMES.frames.push(performance.now() - started);
  if (TIMES.frames.length > 2000) TIMES.frames.splice(0, 1000);
}

// Mean of the third column of the selection in each cell, NaN where no star has a value.
function means(plot, place) {
  const { xs, ys, third } = plot, nx = plot.cells.width, ny = plot.cells.height;
  const sums = new Float64Array(nx * ny), counts = new Uint32Array(nx * ny);
  for (let k = 0; k < plot.nChosen; k++) {
    const i = (xs[k] - place.x0) * place.kx, j = (ys[k] - place.y0) * place.ky;
    if (third[k] !== third[k] || !(i >= 0 && i < nx && j >= 0 && j < ny)) continue;
    const at = (j | 0) * nx + (i | 0);
    sums[at] += third[k];
    counts[at]++;
  }
  return sums.map((sum, at) => sum / counts[at]);
}

// The place in the ramp of a value of the third column; one without a value has the first.
function rampAt(value) {
  const [low, high] = state.limits;
  return value === value ? Math.max(0, Math.min(255, Math.floor((255 * (value - low)) / (high - low)))) : 0;
}

function drawCells(plot, context, place) {
  const third = state.colour ? means(plot, place) : null;
  const pixels = new Uint32Array(plot.image.data.buffer), { chosen, others } = plot;
  let most = 1, mostOthers = 1;
  for (let i = 0; i < pixels.length; i++) {
    if (chosen[i] > most) most = chosen[i];
    if (others[i] > mostOthers) mostOthers = others[i];
  }
  const k = 255 / Math.log1p(most), kOthers = 255 / Math.log1p(mostOthers);
  for (let i = 0; i < pixels.length; i++) {
    if (chosen[i] && third) pixels[i] = RAMP[rampAt(third[i])];
    else if (chosen[i]) pixels[i] = RAMP[(Math.log1p(chosen[i]) * k) | 0];
    else pixels[i] = others[i] ? GREYS[(Math.log1p(others[i]) * kOthers) | 0] : 0;
  }
  plot.cells.getContext("2d").putImageData(plot.image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(plot.cells, 0, 0, plot.cells.width * BIN, plot.cells.height * BIN);
}

function drawPoints(plot, context, place, nView, nChosen) {
  for (const chosen of [false, true]) { // the selection on top
    const n = chosen ? nChosen : nView, size = n > 3000 ? 2 : n > 500 ? 3 : 4, half = size / 2;
    context.fillStyle = chosen ? "#31457c" : "#aab4be";
    for (let m = 0; m < nView; m++) {
      const k = inView[m];
      if (k < plot.nChosen !== chosen) continue;
      if (chosen && state.colour) context.fillStyle = CSS_RAMP[rampAt(plot.third[k])];
      context.fillRect((plot.xs[k] - place.x0) * place.kx * BIN - half, (plot.ys[k] - place.y0) * place.ky * BIN - half, size, size);
    }
  }
}

// The third column, and what its colours mean.
function colourBy(name) {
  state.colour = COLUMNS.get(name) ?? null;
  if (state.colour) {
    const [low, high] = limits(state.colour, 0.02, 0);
    state.limits = low < high ? [low, high] : [high, low];
  }
}

function showLegend() {
  const dense = plots.some((plot) => plot.dense), column = state.colour;
  $("legend").classList.toggle("plain", !dense && !column);
  $("least").textContent = column ? String(Number(state.limits[0].toPrecision(3))) : "fewest";
  $("most").textContent = column
    ? `${Number(state.limits[1].toPrecision(3))} ${axisLabel(column)}${dense ? ", mean of a cell" : ""}` : "most stars in a cell (logarithmic)";
}

function drawFrame(plot, x, y) {
  plot.axisX.call(d3.axisBottom(x).ticks(Math.max(3, plot.width / 90)).tickSizeOuter(0));
  plot.axisY.call(d3.axisLeft(y).ticks(Math.max(3, plot.height / 50)).tickSizeOuter(0));
  const at = ([u, v]) => [MARGIN.left + x(u), MARGIN.top + y(v)];
  plot.outline.attr("d", plot.selection ? "M" + plot.selection.points.map((point) => at(point).join(",")).join("L") + "Z" : null);
  const a = COLUMNS.get(plot.x), b = COLUMNS.get(plot.y);
  const star = state.star, here = star >= 0 && a && b && !isMissing(a, a.values[star]) && !isMissing(b, b.values[star]);
  plot.mark.attr("visibility", here ? "visible" : "hidden");
  if (here) { const [cx, cy] = at([a.values[star], b.values[star]]); plot.mark.attr("cx", cx).attr("cy", cy); }
  const without = state.passing - plot.n;
  plot.message.text(!a || !b ? "This run has no such values; choose other axes." : plot.n ? "" : "No star that passes the filters has both values.");
  plot.count.text(`${number(plot.nView)} in view` +
    (state.selected < state.passing ? `, ${number(plot.nChosenView)} selected` : "") + (without ? `; ${number(without)} without values` : ""));
}

// ---- what a hand does in a plot

function selectionOf(points, box) {
  const xs = points.map((point) => point[0]), ys = points.map((point) => point[1]);
  return { points, box, x0: d3.min(xs), x1: d3.max(xs), y0: d3.min(ys), y1: d3.max(ys) };
}

function select(plot, points, box) {
  plot.selection = selectionOf(points, box);
  update();
}

const corners = ([x0, y0], [x1, y1]) => [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];

function selectView(plot) {
  const [x, y] = scales(plot);
  select(plot, corners([x.invert(0), y.invert(plot.height)], [x.invert(plot.width), y.invert(0)]), true);
}

function dragged(plot) {
  const position = (event) => [event.x - MARGIN.left, event.y - MARGIN.top];
  let path = [];
  return d3.drag().filter((event) => mode() !== "move" && !event.button && !event.ctrlKey).clickDistance(4)
    .on("start", (event) => { path = [position(event)]; })
    .on("drag", (event) => {
      const here = position(event), last = path[path.length - 1];
      if (mode() === "box") path = [path[0], here];
      else if (Math.hypot(here[0] - last[0], here[1] - last[1]) > 3) path.push(here);
      const drawn = mode() === "box" && path.length > 1 ? corners(path[0], path[1]) : path;
      plot.outline.attr("d", "M" + drawn.map(([u, v]) => [u + MARGIN.left, v + MARGIN.top].join(",")).join("L") + "Z");
    })
    .on("end", () => {
      const box = mode() === "box";
      if (path.length < (box ? 2 : 3)) { draw(plot); return; }
      const [x, y] = scales(plot), points = path.map(([u, v]) => [x.invert(u), y.invert(v)]);
      select(plot, box ? corners(points[0], points[1]) : points, box);
    });
}

function pressed(plot, event) {
  const step = 0.1, [w, h] = [plot.width, plot.height];
  const moves = { ArrowLeft: [step * w, 0], ArrowRight: [-step * w, 0], ArrowUp: [0, step * h], ArrowDown: [0, -step * h] };
  if (moves[event.key]) {
    const [dx, dy] = moves[event.key], { k } = plot.transform;
    plot.surface.call(plot.zoom.translateBy, dx / k, dy / k);
  } else if (event.key === "+" || event.key === "=") plot.surface.call(plot.zoom.scaleBy, 1.5);
  else if (event.key === "-") plot.surface.call(plot.zoom.scaleBy, 1 / 1.5);
  else if (event.key === "0") plot.surface.call(plot.zoom.transform, d3.zoomIdentity);
  else if (event.key === "s") selectView(plot);
  else return;
  event.preventDefault();
}

// The nearest row within 10 pixels; one of the selection wins over others.
function nearestRow(plot, [u, v]) {
  const [x, y] = scales(plot), px = u - MARGIN.left, py = v - MARGIN.top;
  const x0 = x.invert(0), y0 = y.invert(0);
  const kx = plot.width / (x.invert(plot.width) - x0), ky = plot.height / (y.invert(plot.height) - y0);
  for (const [from, to] of [[0, plot.nChosen], [plot.nChosen, plot.n]]) {
    let best = 100, found = -1;
    for (let k = from; k < to; k++) {
      const dx = (plot.xs[k] - x0) * kx - px, dy = (plot.ys[k] - y0) * ky - py, distance = dx * dx + dy * dy;
      if (distance < best) { best = distance; found = plot.rows[k]; }
    }
    if (found >= 0) return found;
  }
  return -1;
}

function choose(row) {
  state.star = row;
  const panel = $("details");
  panel.hidden = row < 0;
  document.querySelector("main").classList.toggle("star", row >= 0);
  for (const plot of plots) draw(plot);
  for (const line of document.querySelectorAll("#table tbody tr")) line.classList.toggle("chosen", Number(line.dataset.row) === row);
  remember();
  if (row < 0) return;
  const root = d3.select(panel).text("");
  const obsid = Number(COLUMNS.get("obsid").values[row]);
  const head = root.append("header");
  head.append("h2").text(obsid >= 0 ? `obsid ${obsid}` : "Spectrum without obsid");
  head.append("button").attr("type", "button").attr("aria-label", "Close").text("×").on("click", () => choose(-1));
  if (obsid >= 0) {
    root.append("p").append("a").attr("id", "star-link").attr("href", `stars/${obsid}.html`).text("The star's page");
    const hint = root.append("p").text("It is made by ");
    hint.append("code").text(`lamostvac star ${META.stars.replace(/\/?stars$/, "") || "."} ${obsid}`);
    hint.append("span").text(" in the run's folder.");
  }
  root.append("p").append("code").attr("id", "star-name").text(nameOf(row));
  const [ra, dec] = ["ra", "dec"].map((name) => COLUMNS.get(name)?.values[row]);
  if (ra === ra && dec === dec && ra !== undefined) {
    const sky = root.append("p");
    sky.append("a").attr("id", "sky-link").attr("target", "_blank").attr("rel", "noopener noreferrer")
      .attr("href", `https://aladin.cds.unistra.fr/AladinLite/?target=${encodeURIComponent(`${ra} ${dec}`)}&fov=0.05`)
      .text("Its sky in Aladin Lite");
    sky.append("span").text(" (online) ");
    sky.append("button").attr("type", "button").attr("title", "Send its position to TOPCAT, Aladin, DS9 by SAMP").text("Point at it")
      .on("click", spoken(() => pointAt(row)));
  }
  const flags = COLUMNS.get("flags").values[row];
  const set = [...META.bits.filter((flag) => flags & (1 << flag.bit)), ...ALONE.filter((flag) => flag.values[row])];
  root.append("p").text(set.length ? "Flags:" : "No flag is set.");
  if (set.length) root.append("ul").selectAll("li").data(set).join("li").text((flag) => flag.name).attr("title", (flag) => flag.description);
  const lines = root.append("table").append("tbody").selectAll("tr")
    .data(META.columns.filter((column) => !column.flag && !(column.name.endsWith("_err") && COLUMNS.has(column.name.slice(0, -4)))))
    .join("tr")
    .attr("title", (column) => column.description);
  lines.append("td").text((column) => column.name);
  lines.append("td").text((column) => {
    const error = COLUMNS.get(column.name + "_err"), value = shown(column, row);
    return (value || "–") + (value && error && shown(error, row) ? " ± " + shown(error, row) : "") + (value && column.unit ? " " + column.unit : "");
  });
}

// ---- table and download

function sortRows() {
  if (!state.sort) return;
  const column = COLUMNS.get(state.sort), values = column.values, sign = state.descending ? -1 : 1;
  state.rows = order.slice(0, state.selected).sort((i, j) => {
    const a = values[i], b = values[j], noA = isMissing(column, a), noB = isMissing(column, b);
    if (noA || noB) return noA - noB || i - j; // missing ones last in either direction
    return a < b ? -sign : a > b ? sign : i - j;
  });
}

function showTable() {
  const pages = Math.max(1, Math.ceil(state.selected / PAGE_ROWS));
  const from = state.page * PAGE_ROWS, rows = [...state.rows.subarray(from, Math.min(from + PAGE_ROWS, state.selected))];
  $("page").textContent = `page ${number(state.page + 1)} of ${number(pages)}`;
  $("first").disabled = $("previous").disabled = state.page === 0;
  $("next").disabled = $("last").disabled = state.page >= pages - 1;
  const text = (column) => (column.texts ? "text" : null);
  d3.select("#table thead").selectAll("tr").data([0]).join("tr").selectAll("th").data(META.columns).join((enter) => {
    const cell = enter.append("th").attr("scope", "col").attr("class", text).attr("title", (column) => column.description);
    cell.append("button").attr("type", "button").on("click", (event, column) => {
      state.descending = state.sort === column.name && !state.descending;
      state.sort = column.name;
      state.page = 0;
      sortRows();
      showTable();
    });
    cell.append("small");
    return cell;
  }).attr("aria-sort", (column) => (state.sort !== column.name ? "none" : state.descending ? "descending" : "ascending"))
    .each(function (column) {
      const arrow = state.sort !== column.name ? "" : state.descending ? " ▼" : " ▲";
      this.firstChild.textContent = column.name + arrow;
      this.lastChild.textContent = column.unit || "\u00a0";
    });
  d3.select("#table tbody").selectAll("tr").data(rows, (row) => row).join((enter) => enter.append("tr")
    .attr("data-row", (row) => row).on("click", (event, row) => choose(row)))
    .order().classed("chosen", (row) => row === state.star)
    .selectAll("td").data((row) => META.columns.map((column) => [column, row])).join("td")
    .attr("class", ([column]) => text(column)).each(function ([column, row]) {
      if (column.name !== "obsid") { this.textContent = shown(column, row); return; }
      const value = shown(column, row) || "no obsid";
      d3.select(this).selectAll("button").data([value]).join("button").attr("type", "button").text(value)
        .attr("aria-label", `Details of ${value}`);
    });
}

async function download() {
  const started = performance.now(), columns = [NAME, ...META.columns], parts = [columns.map((column) => column.name).join(",") + "\n"];
  const rows = state.rows.slice(0, state.selected), format = FORMATS[$("format").value];
  if (format && rows.length > SMALL) {
    $("progress").textContent = `more than ${number(SMALL)} rows: take CSV, or ${META.main_table}`;
    return;
  }
  if (format) { save(format.make(columns, rows), format.name, format.type); return; }
  // A text that begins so would be a formula in a spreadsheet.
  const harmless = (column, value) => (isText(column) && /^[=+\-@]/.test(value) ? "'" + value : value);
  const quoted = (value) => (/[",\r\n]/.test(value) ? '"' + value.replaceAll('"', '""') + '"' : value);
  const cell = (column, row) => quoted(harmless(column, cellOf(column, row)));
  for (let from = 0; from < rows.length; from += 20000) {
    let text = "";
    for (let k = from; k < Math.min(from + 20000, rows.length); k++) {
      text += columns.map((column) => cell(column, rows[k])).join(",") + "\n";
    }
    parts.push(new Blob([text]));
    $("progress").textContent = `${Math.round((100 * from) / rows.length)} %`;
    await new Promise((resolve) => setTimeout(resolve)); // the page stays usable meanwhile
  }
  $("progress").textContent = "";
  save(parts, "selection.csv", "text/csv");
  TIMES.download = performance.now() - started;
}

// ---- filters, buttons, start

function makeFilters() {
  const types = COLUMNS.get("spectral_type").texts;
  const known = ["OB", "A", "F", "G", "K", "M"], sorted = [...types].sort((a, b) => known.indexOf(a) - known.indexOf(b));
  const boxes = d3.select("#types").selectAll("label").data(sorted).join("label");
  boxes.append("input").attr("type", "checkbox").attr("value", (name) => name).attr("checked", true);
  boxes.append("span").text((name) => " " + (name || "none"));
  $("snr-name").textContent = META.snr;
  $("best").parentElement.hidden = !COLUMNS.has("best_spectrum");
  $("subclass").parentElement.hidden = !COLUMNS.has("subclass");
  const lines = d3.select("#flags").selectAll("label").data([...META.bits, ...ALONE]).join("label")
    .attr("class", "pair").attr("title", (flag) => flag.description);
  lines.append("span").text((flag) => flag.name.replace("flag_", ""));
  const choice = lines.append("select").attr("name", (flag) => flag.name).attr("data-bit", (flag) => flag.bit)
    .attr("aria-label", (flag) => flag.name);
  for (const [value, word] of [["any", "any"], ["0", "not set"], ["1", "set"]]) choice.append("option").attr("value", value).text(word);
  let timer = 0;
  const soon = () => { clearTimeout(timer); timer = setTimeout(update, 60); };
  $("filters").addEventListener("input", soon);
  $("filters").addEventListener("reset", () => setTimeout(update));
  $("filters").addEventListener("submit", (event) => event.preventDefault());
}

function makeButtons() {
  $("clear").onclick = () => { for (const plot of plots) plot.selection = null; state.cone = null; update(); };
  d3.select("#colour").selectAll("option.column").data(META.columns.filter(isNumber)).join("option").attr("class", "column")
    .attr("value", (column) => column.name).text((column) => column.name);
  $("colour").onchange = () => update();
  const turn = (page) => () => { state.page = page(); showTable(); };
  $("first").onclick = turn(() => 0);
  $("previous").onclick = turn(() => state.page - 1);
  $("next").onclick = turn(() => state.page + 1);
  $("last").onclick = turn(() => Math.ceil(state.selected / PAGE_ROWS) - 1);
  $("download").onclick = download;
  for (const radio of document.querySelectorAll("#tools input")) {
    radio.onchange = () => $("plots").classList.toggle("selecting", mode() !== "move");
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") choose(-1); });
  const ramp = $("ramp").getContext("2d"), image = ramp.createImageData(160, 10), pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = RAMP[Math.floor(((i % 160) / 159) * 255)];
  ramp.putImageData(image, 0, 0);
}

async function start() {
  makeFilters();
  makeButtons();
  makeLinks();
  for (const setting of META.plots) makePlot(setting);
  for (const plot of plots) resize(plot);
  const first = META.plots.flatMap((plot) => [plot.x, plot.y]);
  await unpackAll([...first.filter(Boolean), "flags", "spectral_type", META.snr, "subclass", "obsid"]);
  for (let i = 0; i < N; i++) order[i] = i;
  for (const plot of plots) { fit(plot); gather(plot); draw(plot); }
  TIMES.firstDraw = performance.now(); // since the navigation began
  await new Promise((resolve) => setTimeout(resolve)); // what is drawn is shown before the other columns are unpacked
  await Promise.all([unpackAll(COLUMNS.keys()), unpackNames()]);
  if (META.rows_dtype) ROWS = await unpackNumbers("catalogue-rows", META.rows_dtype);
  state.ready = true;
  if (location.hash.length > 1) restore();
  else update();
  TIMES.ready = performance.now();
  document.documentElement.dataset.ready = "yes";
}

window.explorer = { META, COLUMNS, TIMES, state, plots, order };
