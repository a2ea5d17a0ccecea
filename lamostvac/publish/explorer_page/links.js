// What connects the page with other programs and people: names of spectra, search, addresses of views, files, SAMP.

const SMALL = 100000; // rows of a VOTable or FITS file at most
const IDS = { bytes: null, starts: null }; // spectrum_id of every row, one after the other
const HUB = "http://localhost:21012/"; // of SAMP's Web Profile; the only address that the page's policy allows
const samp = { key: null, sent: false };

// ---- names of spectra

async function unpackNames() {
  IDS.bytes = await unzipped("spectrum-ids");
  IDS.starts = new Uint32Array(N + 1);
  for (let i = 0, row = 0; i < IDS.bytes.length; i++) if (IDS.bytes[i] === 10) IDS.starts[++row] = i + 1;
}

const nameOf = (row) => new TextDecoder().decode(IDS.bytes.subarray(IDS.starts[row], IDS.starts[row + 1] - 1));

function rowOfName(name) {
  const wanted = new TextEncoder().encode(name);
  rows: for (let row = 0; row < N; row++) {
    const start = IDS.starts[row];
    if (IDS.starts[row + 1] - 1 - start !== wanted.length) continue;
    for (let i = 0; i < wanted.length; i++) if (IDS.bytes[start + i] !== wanted[i]) continue rows;
    return row;
  }
  return -1;
}

// ---- search

function rowOfNumber(name, text) {
  const values = COLUMNS.get(name)?.values, wanted = values instanceof BigInt64Array ? BigInt(text) : Number(text);
  return values ? values.indexOf(wanted) : -1;
}

// Degrees of 12.5 or 12:30:00; `hours` for right ascension.
function degrees(text, hours) {
  const parts = text.split(":");
  if (parts.length === 1) return text.trim() === "" ? NaN : Number(text);
  const [whole, minutes, seconds] = [...parts, "0"].map((part) => Math.abs(Number(part)));
  const value = whole + minutes / 60 + seconds / 3600;
  return (text.trim().startsWith("-") ? -value : value) * (hours ? 15 : 1);
}

// A position (ra dec, with a radius in arcsec if wanted), or the one in a name such as J123456.78+012345.6; or null.
function position(text) {
  const named = text.match(/J(\d\d)(\d\d)(\d\d\.?\d*)([+-]\d\d)(\d\d)(\d\d\.?\d*)/);
  const parts = named ? [named.slice(1, 4).join(":"), named.slice(4).join(":")] : text.trim().split(/[\s,]+/);
  if (parts.length < 2 || parts.length > 3) return null;
  const cone = { ra: degrees(parts[0], true), dec: degrees(parts[1], false), radius: parts[2] === undefined ? 5 : Number(parts[2]) };
  return cone.ra >= 0 && cone.ra <= 360 && Math.abs(cone.dec) <= 90 && cone.radius > 0 ? cone : null;
}

const RADIANS = Math.PI / 180;

// Separation in arcsec of a row from a position; NaN where the row has none.
function separation(cone, row) {
  const ra = COLUMNS.get("ra").values[row] * RADIANS, dec = COLUMNS.get("dec").values[row] * RADIANS;
  const [ra0, dec0] = [cone.ra * RADIANS, cone.dec * RADIANS];
  const half = Math.sin((dec - dec0) / 2) ** 2 + Math.cos(dec) * Math.cos(dec0) * Math.sin((ra - ra0) / 2) ** 2;
  return (2 * Math.asin(Math.min(1, Math.sqrt(half))) * 3600) / RADIANS;
}

function find(text) {
  const say = (sentence) => { $("found").textContent = sentence; };
  const wanted = text.trim();
  if (!wanted) { say(""); return; }
  let row = /^\d+$/.test(wanted) ? rowOfNumber("obsid", wanted) : rowOfName(wanted);
  if (row < 0 && /^\d+$/.test(wanted)) row = rowOfNumber("gaia_source_id", wanted);
  if (row >= 0) {
    say(order.subarray(0, state.selected).includes(row) ? "found" : "found; the filters or a selection leave it out");
    choose(row);
    return;
  }
  const cone = position(wanted);
  if (!cone) { say(`no such spectrum among the ${number(N)} of this page`); return; }
  state.cone = cone;
  update();
  const nearest = d3.least(order.subarray(0, state.selected), (one) => separation(cone, one));
  say(`${number(state.selected)} within ${cone.radius} arcsec`);
  choose(nearest ?? -1);
}

// ---- the address of a view: axes, colour, cuts, selections, star

const short = (value) => String(Number(value.toPrecision(6)));

function viewText() {
  const view = new URLSearchParams();
  plots.forEach((plot, k) => {
    if (plot.x !== META.plots[k].x || plot.y !== META.plots[k].y) view.set("axes" + k, `${plot.x ?? ""},${plot.y ?? ""}`);
    if (plot.transform.k !== 1 || plot.transform.x || plot.transform.y) {
      view.set("view" + k, scales(plot).flatMap((scale) => scale.domain()).map(short).join(","));
    }
    if (plot.selection) view.set("select" + k, (plot.selection.box ? "box," : "lasso,") + plot.selection.points.flat().map(short).join(","));
  });
  if ($("colour").value) view.set("colour", $("colour").value);
  for (const id of ["recommended", "good", "best"]) if ($(id).checked) view.set(id, "1");
  for (const id of ["subclass", "snr-min", "snr-max"]) if ($(id).value !== "") view.set(id, $(id).value);
  const off = [...document.querySelectorAll("#types input:not(:checked)")].map((box) => box.value);
  if (off.length) view.set("without", off.join(","));
  for (const choice of document.querySelectorAll("#flags select")) if (choice.value !== "any") view.set(choice.name, choice.value);
  if (state.cone) view.set("cone", [state.cone.ra, state.cone.dec, state.cone.radius].join(","));
  if (state.star >= 0) view.set("star", nameOf(state.star));
  return view.toString();
}

let timer = 0;

// Puts the view into the address, a moment after the last change of it.
function remember() {
  if (!state.ready) return;
  clearTimeout(timer);
  timer = setTimeout(() => {
    const text = viewText();
    $("permalink").href = "#" + text;
    // With the state that the page was opened with the address stays as it was.
    if (text || location.hash) history.replaceState(null, "", "#" + text);
  }, 200);
}

// The view of the page's address. What this page does not have is passed over.
function restore() {
  const view = new URLSearchParams(location.hash.slice(1));
  const numbers = (key, from = 0) => (view.get(key) ?? "").split(",").slice(from).map(Number);
  $("filters").reset();
  for (const id of ["recommended", "good", "best"]) $(id).checked = view.get(id) === "1";
  for (const id of ["subclass", "snr-min", "snr-max"]) $(id).value = view.get(id) ?? "";
  const off = new Set((view.get("without") ?? "").split(","));
  for (const box of document.querySelectorAll("#types input")) box.checked = !off.has(box.value);
  for (const choice of document.querySelectorAll("#flags select")) if (["0", "1"].includes(view.get(choice.name))) choice.value = view.get(choice.name);
  const colour = COLUMNS.get(view.get("colour"));
  $("colour").value = colour && isNumber(colour) ? colour.name : "";
  plots.forEach((plot, k) => {
    const [x, y] = (view.get("axes" + k) ?? "").split(",");
    for (const [axis, name] of [["x", x], ["y", y]]) {
      const known = name && COLUMNS.has(name) && isNumber(COLUMNS.get(name));
      plot[axis] = known ? name : META.plots[k][axis];
      plot.choices[axis].value = plot[axis] ?? "";
    }
    fit(plot);
    const [x0, x1, y0, y1] = numbers("view" + k);
    if (isFinite(y1)) {
      // The page's own zoom has one factor for both axes; another window's shape is met as nearly as that allows.
      const zoom = plot.width / Math.abs(plot.baseX(x1) - plot.baseX(x0));
      const middle = [(plot.baseX(x0) + plot.baseX(x1)) / 2, (plot.baseY(y0) + plot.baseY(y1)) / 2];
      plot.surface.call(plot.zoom.transform, d3.zoomIdentity.translate(plot.width / 2 - zoom * middle[0], plot.height / 2 - zoom * middle[1]).scale(zoom));
    }
    const flat = numbers("select" + k, 1), points = d3.range(0, flat.length - 1, 2).map((at) => [flat[at], flat[at + 1]]);
    plot.selection = points.length > 2 && flat.every(isFinite) ? selectionOf(points, view.get("select" + k).startsWith("box")) : null;
  });
  const [ra, dec, radius] = numbers("cone");
  state.cone = radius > 0 && isFinite(ra) && isFinite(dec) ? { ra, dec, radius } : null;
  update();
  choose(view.get("star") ? rowOfName(view.get("star")) : -1);
}

// ---- files

// A column of names beside those of the page.
const NAME = { name: "spectrum_id", dtype: "text", unit: "", ucd: "meta.id;meta.main", null: null, texts: null, digits: 0, description: "Identity of the spectrum" };
const isText = (column) => column === NAME || column.texts !== null;
const cellOf = (column, row) => (column === NAME ? nameOf(row) : shown(column, row));
// The number that stands for a missing value, where the column's type can hold it.
const nullOf = (column) => (column.dtype === "uint8" ? null : column.null);
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
// Type in a file: letter of FITS, name in VOTable, bytes, and how a number is put into a view.
const TYPES = {
  uint8: ["B", "unsignedByte", 1, "setUint8"], int16: ["I", "short", 2, "setInt16"], uint16: ["J", "int", 4, "setInt32"],
  int32: ["J", "int", 4, "setInt32"], uint32: ["K", "long", 8, "setBigInt64"], int64: ["K", "long", 8, "setBigInt64"],
  float32: ["E", "float", 4, "setFloat32"], float64: ["D", "double", 8, "setFloat64"],
};

function votable(columns, rows) {
  const field = (column) => `<FIELD name="${column.name}" ${isText(column) ? 'datatype="char" arraysize="*"' : `datatype="${TYPES[column.dtype][1]}"`}` +
    (column.unit && column.unit !== "dex" ? ` unit="${escaped(column.unit.replaceAll(" ", "."))}"` : "") + (column.ucd ? ` ucd="${column.ucd}"` : "") +
    `><DESCRIPTION>${escaped(column.description)}</DESCRIPTION>${nullOf(column) === null ? "" : `<VALUES null="${nullOf(column)}"/>`}</FIELD>`;
  const row = (one) => "<TR>" + columns.map((column) => `<TD>${escaped(cellOf(column, one))}</TD>`).join("") + "</TR>";
  return ['<?xml version="1.0" encoding="UTF-8"?>', '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">',
    `<RESOURCE><DESCRIPTION>${escaped(META.title)}</DESCRIPTION><TABLE name="selection">`, ...columns.map(field), "<DATA><TABLEDATA>",
    ...Array.from(rows, row), "</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>", ""].join("\n");
}

function fitsTable(columns, rows) {
  const encode = (text) => new TextEncoder().encode(text);
  const widths = columns.map((column) => !isText(column) ? TYPES[column.dtype][2]
    : Math.max(1, ...(column === NAME ? Array.from(rows, (row) => nameOf(row).length) : column.texts.map((text) => encode(text).length))));
  const card = (key, value) => `${key.padEnd(8)}= ${typeof value === "string" ? `'${value.replaceAll("'", "''").padEnd(8)}'` : String(value === true ? "T" : value).padStart(20)}`.padEnd(80);
  const block = (cards) => { const text = [...cards, "END".padEnd(80)].join(""); return text.padEnd(Math.ceil(text.length / 2880) * 2880); };
  const width = widths.reduce((sum, one) => sum + one, 0);
  const cards = [card("XTENSION", "BINTABLE"), card("BITPIX", 8), card("NAXIS", 2), card("NAXIS1", width), card("NAXIS2", rows.length),
    card("PCOUNT", 0), card("GCOUNT", 1), card("TFIELDS", columns.length)];
  columns.forEach((column, k) => {
    cards.push(card("TTYPE" + (k + 1), column.name), card("TFORM" + (k + 1), isText(column) ? widths[k] + "A" : TYPES[column.dtype][0]));
    if (column.unit && column.unit !== "dex") cards.push(card("TUNIT" + (k + 1), column.unit));
    if (nullOf(column) !== null) cards.push(card("TNULL" + (k + 1), nullOf(column)));
  });
  const header = block([card("SIMPLE", true), card("BITPIX", 8), card("NAXIS", 0), card("EXTEND", true)]) + block(cards);
  const data = new Uint8Array(Math.ceil((width * rows.length) / 2880) * 2880), view = new DataView(data.buffer);
  let at = 0;
  for (const row of rows) {
    columns.forEach((column, k) => {
      if (isText(column)) data.set(encode(cellOf(column, row)), at);
      else { const put = TYPES[column.dtype][3], value = column.values[row]; view[put](at, put === "setBigInt64" ? BigInt(value) : value); }
      at += widths[k];
    });
  }
  return [header, data];
}

const FORMATS = {
  votable: { name: "selection.vot", type: "application/x-votable+xml", make: (columns, rows) => [votable(columns, rows)] },
  fits: { name: "selection.fits", type: "application/fits", make: fitsTable },
};

function save(parts, name, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(parts, { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// ---- SAMP (IVOA, version 1.3, section 5: the Web Profile), only when a button is clicked

function xmlOf(value) {
  if (Array.isArray(value)) return `<value><array><data>${value.map(xmlOf).join("")}</data></array></value>`;
  if (typeof value === "object") {
    const member = ([key, one]) => `<member><name>${escaped(key)}</name>${xmlOf(one)}</member>`;
    return `<value><struct>${Object.entries(value).map(member).join("")}</struct></value>`;
  }
  return `<value><string>${escaped(String(value))}</string></value>`;
}

function valueOf(element) {
  const inner = element.firstElementChild;
  if (!inner) return element.textContent;
  if (inner.tagName === "struct") {
    return Object.fromEntries([...inner.children].map((one) => [one.querySelector(":scope > name").textContent, valueOf(one.querySelector(":scope > value"))]));
  }
  if (inner.tagName === "array") return [...inner.querySelectorAll(":scope > data > value")].map(valueOf);
  return inner.textContent;
}

async function ask(method, ...values) {
  const params = values.map((value) => `<param>${xmlOf(value)}</param>`).join("");
  const body = `<?xml version="1.0"?><methodCall><methodName>samp.webhub.${method}</methodName><params>${params}</params></methodCall>`;
  let answer;
  try {
    answer = await fetch(HUB, { method: "POST", headers: { "Content-Type": "text/plain" }, body });
  } catch (error) {
    throw new Error("no SAMP hub answers; start TOPCAT or Aladin, and try again");
  }
  const parsed = new DOMParser().parseFromString(await answer.text(), "text/xml");
  const fault = parsed.querySelector("fault > value");
  if (fault) throw new Error("the SAMP hub says: " + valueOf(fault).faultString);
  const value = parsed.querySelector("params > param > value");
  return value ? valueOf(value) : "";
}

async function broadcast(mtype, params) {
  if (!samp.key) {
    samp.key = (await ask("register", { "samp.name": "lamost-vac explorer" }))["samp.private-key"];
    await ask("declareMetadata", samp.key, { "samp.name": "lamost-vac explorer", "samp.description.text": META.title });
    window.addEventListener("pagehide", () => ask("unregister", samp.key).catch(() => {}), { once: true });
  }
  try {
    return await ask("notifyAll", samp.key, { "samp.mtype": mtype, "samp.params": params });
  } catch (error) {
    samp.key = null; // another hub may answer next time
    throw error;
  }
}

const tableAddress = () => new URL(META.main_table, location.href.split("#")[0]).href;

async function sendTable() {
  const url = tableAddress();
  await broadcast("table.load.fits", { "table-id": url, url, name: META.title });
  $("send-rows").disabled = false;
  return `sent the address of ${META.main_table}`;
}

async function sendRows() {
  const url = tableAddress(), rows = Array.from(state.rows, (row) => String(ROWS ? ROWS[row] : row));
  await broadcast("table.select.rowList", { "table-id": url, url, "row-list": rows });
  return `sent ${number(rows.length)} rows`;
}

async function pointAt(row) {
  await broadcast("coord.pointAt.sky", { ra: COLUMNS.get("ra").values[row], dec: COLUMNS.get("dec").values[row] });
  return "sent the position";
}

// A button's job, and a sentence on how it went.
const spoken = (job) => async () => {
  $("samp-said").textContent = "...";
  try { $("samp-said").textContent = await job(); } catch (error) { $("samp-said").textContent = error.message; }
};

function makeLinks() {
  $("find").addEventListener("submit", (event) => { event.preventDefault(); find($("wanted").value); });
  $("send-table").onclick = spoken(sendTable);
  $("send-rows").onclick = spoken(sendRows);
  window.addEventListener("hashchange", restore);
}
