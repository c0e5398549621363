// Draws the charts, the table, and what links them. The trials that are chosen are one set, which an area in a chart,
// a number in the table or Escape changes; everything that is shown follows it.
"use strict";
(() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const views = {};
  const PAGE = 50;
  let chosen = null; // a Set of trial numbers, or null for all
  let source = null; // the chart whose area chose them
  const order = { field: "rank", down: false, page: 0 };

  // Theme
  const isDark = () => root.dataset.theme === "dark";
  const config = (dark) => {
    const text = dark ? "#c3ccd6" : "#3d4650", line = dark ? "#39424d" : "#dfe3e8", strong = dark ? "#e5e9ee" : "#1b1f24";
    return {
      background: null,
      font: 'system-ui, "Segoe UI", Roboto, "Liberation Sans", sans-serif',
      view: { stroke: line },
      axis: { labelColor: text, titleColor: strong, titleFontWeight: 500, gridColor: line, domainColor: line, tickColor: line, labelOverlap: "greedy", gridOpacity: 0.6 },
      legend: { labelColor: text, titleColor: strong, titleFontWeight: 500 },
      text: { color: strong },
      range: { ramp: dark ? ["#3a4656", "#8ec5ff"] : ["#c9d6e4", "#08519c"], heatmap: "viridis" },
    };
  };
  function setTheme(dark) {
    root.dataset.theme = dark ? "dark" : "light";
    document.getElementById("theme").textContent = dark ? "Light" : "Dark";
  }

  // Charts
  function dataOf(spec) {
    const names = new Set([spec, ...(spec.layer || [])].map((each) => each.data?.name).filter(Boolean));
    return Object.fromEntries([...names].map((name) => [name, page.datasets[name]]));
  }
  // Of a trial, what the table has of it, written when it is pointed at; of anything else, what the chart says of it.
  function formatTooltip(value, escaped) {
    const known = columns.filter(([, field]) => "kind" in value && field in value);
    const lines = known.length ? known.map(([title, field, form]) => [title, write[form](value[field])]) : Object.entries(value);
    return `<table>${lines.map(([name, text]) => `<tr><td class="key">${escaped(name)}</td><td class="value">${escaped(text)}</td></tr>`).join("")}</table>`;
  }
  async function draw(id) {
    const spec = page.charts[id];
    views[id]?.finalize();
    // `ast`: expressions are interpreted, so that the page needs no eval.
    const options = { mode: "vega-lite", actions: false, ast: true, renderer: "canvas", config: config(isDark()), tooltip: { theme: isDark() ? "dark" : "light", formatTooltip } };
    views[id] = await vegaEmbed(document.getElementById(id), { ...spec, datasets: dataOf(spec) }, options);
    const names = (spec.params || []).map((each) => each.name);
    if (names.includes("brush")) views[id].view.addSignalListener("brush", (_, area) => brushed(id, area));
    if (chosen) await show(id);
  }
  const show = async (id) => {
    if (!(page.charts[id].params || []).some((each) => each.name === "chosen")) return;
    await views[id].view.signal("chosen", chosen && Object.fromEntries([...chosen].map((each) => [each, true]))).runAsync();
  };
  // A chart is drawn when it comes near the window, so that a page of many charts is read at once. They are drawn one
  // after the other, and what the user does comes between.
  const ids = Object.keys(page.charts);
  const due = new Set(); // the charts to draw
  let drawing = false;
  async function drawDue() {
    if (drawing) return;
    drawing = true;
    root.dataset.drawn = "no";
    for (const id of due) {
      due.delete(id);
      await draw(id);
      await new Promise((done) => setTimeout(done));
    }
    drawing = false;
    root.dataset.drawn = "yes";
  }
  function drawAgain(id) {
    due.add(id);
    drawDue();
  }
  const watcher = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      due.add(target.id);
    }
    drawDue();
  }, { rootMargin: "200px" });
  const drawSeen = () => ids.forEach((id) => watcher.observe(document.getElementById(id)));

  // Choosing
  const within = (value, range) => typeof range[0] === "number" && range.length === 2 ? value >= Math.min(...range) && value <= Math.max(...range) : range.includes(value);
  function matches(row, area) {
    const fields = Object.entries(area).filter(([, range]) => range.length);
    const many = fields.map(([name]) => row[name]).find(Array.isArray);
    if (!many) return fields.every(([name, range]) => row[name] !== undefined && within(row[name], range));
    return many.some((_, place) => fields.every(([name, range]) => {
      const value = Array.isArray(row[name]) ? row[name][place] : row[name];
      return value !== undefined && value !== null && within(value, range);
    }));
  }
  function brushed(id, area) {
    if (!Object.keys(area || {}).length) return source === id ? choose(null) : undefined;
    if (source && source !== id) drawAgain(source); // without its area
    source = id;
    const rows = page.datasets[page.charts[id].usermeta.brushed];
    choose(new Set(rows.filter((row) => matches(row, area)).map((row) => row.trial)), id);
  }
  let waiting = false;
  function choose(trials, from = null) {
    chosen = trials;
    if (!from && source) {
      drawAgain(source);
      source = null;
    }
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(async () => {
      waiting = false;
      order.page = 0;
      fill();
      const bar = document.getElementById("choice");
      bar.hidden = !chosen;
      bar.firstChild.textContent = chosen ? `${chosen.size} of ${rows.length} trials` : "";
      for (const id of Object.keys(views)) await show(id);
    });
  }

  // Table
  const { columns } = page.table;
  const rows = page.datasets[page.table.data];
  const section = document.getElementById("section-trials");
  const make = (tag, text, kind) => {
    const found = document.createElement(tag);
    if (text !== undefined) found.textContent = text;
    if (kind) found.className = kind;
    return found;
  };
  const digits = (value, count) => String(Number(value.toPrecision(count))).replace(/e([+-])0*/, (_, sign) => `e${sign === "-" ? "-" : ""}`);
  const nearOne = (distance) => String(Number((1 - distance).toFixed(Math.max(2 - Math.floor(Math.log10(Math.min(distance, 1 - distance) || 1)), 3))));
  const write = {
    integer: String,
    text: String,
    number: (value) => digits(value, 4),
    seconds: (value) => value.toFixed(value < 10 ? 2 : 1),
    near_one: (value) => nearOne(1 - value),
    complement: nearOne,
  };
  function sorted() {
    const { field, down } = order, sign = down !== (columns.find((each) => each[1] === field)[2] === "complement") ? -1 : 1;
    const shown = chosen ? rows.filter((row) => chosen.has(row.trial)) : [...rows];
    return shown.sort((one, other) => {
      const [a, b] = [one[field], other[field]];
      if (a === undefined || b === undefined) return (a === undefined) - (b === undefined); // what is missing comes last
      return sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
    });
  }
  function head() {
    const line = make("tr");
    for (const [title, field, form] of columns) {
      const cell = make("th", undefined, form === "text" ? "text" : "");
      cell.scope = "col";
      const button = make("button", title);
      button.type = "button";
      button.addEventListener("click", () => {
        order.down = order.field === field && !order.down;
        Object.assign(order, { field, page: 0 });
        fill();
      });
      cell.append(button);
      line.append(cell);
    }
    section.querySelector("thead").replaceChildren(line);
  }
  function line(row) {
    const found = make("tr", undefined, row.kind === "best" ? "best" : row.kind === "complete" ? "" : "other");
    for (const [, field, form] of columns) {
      const cell = make("td", undefined, form === "text" ? "text" : "");
      const value = row[field];
      if (field === "trial") {
        const button = make("button", value);
        button.type = "button";
        button.title = "Show this trial in the charts";
        button.addEventListener("click", () => choose(chosen?.size === 1 && chosen.has(value) ? null : new Set([value])));
        cell.append(button);
      } else if (value !== undefined) cell.textContent = write[form](value);
      found.append(cell);
    }
    return found;
  }
  function fill() {
    const shown = sorted(), last = Math.max(Math.ceil(shown.length / PAGE) - 1, 0);
    order.page = Math.min(order.page, last);
    section.querySelectorAll("th").forEach((cell, place) => {
      if (columns[place][1] === order.field) cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
    const first = order.page * PAGE;
    section.querySelector("tbody").replaceChildren(...shown.slice(first, first + PAGE).map(line));
    const turn = (label, by, enabled) => {
      const button = make("button", label);
      button.type = "button";
      button.disabled = !enabled;
      button.addEventListener("click", () => { order.page += by; fill(); });
      return button;
    };
    const said = make("span", `${shown.length ? first + 1 : 0} to ${Math.min(first + PAGE, shown.length)} of ${shown.length}`);
    const turns = last ? [turn("Previous", -1, order.page > 0), said, turn("Next", 1, order.page < last)] : [said];
    section.querySelector(".pages").replaceChildren(...turns);
  }

  // Code
  const code = document.querySelector("#code code");
  async function copy() {
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch { // without the permission, or not in a secure context
      getSelection().selectAllChildren(code);
      document.execCommand("copy");
    }
    const button = document.getElementById("copy");
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  document.getElementById("code").hidden = !code.textContent;
  document.getElementById("copy").addEventListener("click", copy);
  document.getElementById("theme").addEventListener("click", () => { setTheme(!isDark()); drawSeen(); });
  document.querySelector("#choice button").addEventListener("click", () => choose(null));
  addEventListener("keydown", (event) => { if (event.key === "Escape" && chosen) choose(null); });
  let before = null; // the theme to go back to: paper is white
  addEventListener("beforeprint", async () => {
    before = isDark();
    setTheme(false);
    for (const id of ids) await draw(id); // without a pause, in which the page would be printed
  });
  addEventListener("afterprint", () => { if (before) { setTheme(true); drawSeen(); } });
  if (root.dataset.live) setInterval(() => { if (!chosen && !document.hidden) location.reload(); }, 1000 * root.dataset.live);

  const preferred = matchMedia("(prefers-color-scheme: dark)");
  setTheme(preferred.matches);
  preferred.addEventListener("change", (event) => { setTheme(event.matches); drawSeen(); });
  head();
  fill();
  root.dataset.drawn = ids.length ? "no" : "yes";
  for (const id of ids) { // what is said of a chart, and its place, before it is drawn
    const element = document.getElementById(id);
    element.setAttribute("role", "img");
    element.setAttribute("aria-label", page.charts[id].description);
    element.style.height = `${page.charts[id].height}px`;
  }
  addEventListener("DOMContentLoaded", drawSeen); // when Vega, which is the larger part of the page, has been read
})();
