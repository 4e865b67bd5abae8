// Curves: several series over one axis, with values under the pointer, a log scale, and the figures as a table.

export const ACROSS = { step: "step", seconds: "time", tokens: "tokens", usd: "USD" };

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function number(value) {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  if (size >= 1e9) return `${+(value / 1e9).toPrecision(4)}G`;
  if (size >= 1e6) return `${+(value / 1e6).toPrecision(4)}M`;
  if (size >= 1e4) return `${+(value / 1e3).toPrecision(4)}k`;
  if (size !== 0 && size < 1e-3) return value.toExponential(2);
  return `${+value.toPrecision(4)}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const whole = Math.round(seconds);
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

const along = (across) => (across === "seconds" ? duration : number);

// One chart.  `series`: [{label, x, y, dots}], each with its own x.
export class Chart {
  constructor(title) {
    this.figure = document.createElement("figure");
    this.figure.innerHTML = "<figcaption></figcaption><div></div><details hidden><summary>as a table</summary><div class=wide></div></details>";
    [this.caption, this.place, this.table] = this.figure.children;
    this.title = title;
    this.drawn = "";
  }

  draw(series, across, isLog) {
    const shown = series.filter((one) => one.x.length);
    this.figure.hidden = !shown.some((one) => one.x.length > 1);
    const form = JSON.stringify([shown.map((one) => [one.label, one.dots]), across, isLog, colour("--ink"), this.place.clientWidth]);
    const data = uPlot.join(shown.map((one) => [one.x, one.y.map((v) => (isLog && v <= 0 ? null : v))]));
    this.caption.textContent = `${this.title}${isLog ? ", logarithmic" : ""}`;
    this.fill(shown, across);
    if (this.figure.hidden) return;
    if (this.plot && form === this.drawn) return void this.plot.setData(data);
    this.plot?.destroy();
    this.drawn = form;
    this.plot = new uPlot(this.options(shown, across, isLog), data, this.place);
  }

  options(shown, across, isLog) {
    const [ink, line] = [colour("--soft"), colour("--line")];
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line } };
    const said = along(across);
    return {
      width: this.place.clientWidth || 480,
      height: 240,
      scales: { x: { time: false }, y: { distr: isLog ? 3 : 1 } },
      axes: [
        { ...axis, values: (_, ticks) => ticks.map(said) },
        { ...axis, size: 60, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : number(tick))) },
      ],
      series: [{ label: ACROSS[across], value: (_, v) => (v === null ? "–" : said(v)) }].concat(
        shown.map((one) => {
          const stroke = colour(`--c${one.colour % 6}`);
          const value = (_, v) => (v === null || v === undefined ? "–" : number(v));
          const points = one.dots ? { show: true, size: 7, fill: stroke } : { show: false };
          return { label: one.label, stroke, width: one.dots ? 1 : 2, dash: one.dots ? [4, 4] : [], spanGaps: true, points, value };
        }),
      ),
    };
  }

  // What a pointer shows, for who has none: at most forty rows of each curve.
  fill(shown, across) {
    this.table.hidden = this.figure.hidden;
    if (!this.table.open) return;
    const rows = shown.flatMap((one) => {
      const every = Math.max(1, Math.ceil(one.x.length / 40));
      return one.x.map((x, i) => [one.label, along(across)(x), number(one.y[i])]).filter((_, i) => i % every === 0);
    });
    const table = document.createElement("table");
    table.append(row("th", ["", ACROSS[across], this.title]), ...rows.map((cells) => row("td", cells)));
    this.table.lastElementChild.replaceChildren(table);
  }
}

function row(kind, cells) {
  const made = document.createElement("tr");
  for (const text of cells) made.append(Object.assign(document.createElement(kind), { textContent: text }));
  return made;
}

// A row of charts with its controls: what is across, and whether upwards is logarithmic.
export class Charts {
  constructor(kinds) {
    this.kinds = kinds;
    this.element = document.createElement("section");
    this.element.innerHTML = `<h2>Course</h2><div class="bar"><label>over <select></select></label>
      <label><input type="checkbox"> logarithmic loss</label></div><div class="charts"></div>`;
    this.select = this.element.querySelector("select");
    this.select.append(...Object.entries(ACROSS).map(([value, text]) => new Option(text, value)));
    this.log = this.element.querySelector("input");
    this.charts = kinds.map((kind) => new Chart(kind.title));
    this.element.querySelector(".charts").append(...this.charts.map((chart) => chart.figure));
    const again = () => this.draw(this.runs);
    for (const control of [this.select, this.log]) control.addEventListener("change", again);
    for (const chart of this.charts) chart.table.addEventListener("toggle", again);
    this.wide = new ResizeObserver(again);
    this.wide.observe(this.element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  }

  // `runs`: [{label, curves, colour}]
  draw(runs) {
    if (!runs) return;
    this.runs = runs;
    const across = this.select.value;
    this.kinds.forEach((kind, i) => this.charts[i].draw(runs.flatMap((run) => lines(kind, run, across)), across, kind.log && this.log.checked));
  }
}

function lines(kind, run, across) {
  const found = [line(kind.title, run.label, run.curves.steps, kind.name, across, run.colour, false)];
  if (kind.name === "loss") found.push(line("eval", run.label, run.curves.evals, "loss", across, run.colour + (run.label ? 0 : 1), true));
  return found;
}

function line(title, label, columns, name, across, colour, dots) {
  const kept = columns[name].map((value, i) => [columns[across][i], value]).filter(([x, y]) => x !== null && y !== null);
  // uPlot wants rising values; a resumed attempt may repeat one
  const rising = kept.filter(([x], i) => i === 0 || x > kept[i - 1][0]);
  return { label: label ? `${label}${dots ? ", eval" : ""}` : title, x: rising.map(([x]) => x), y: rising.map(([, y]) => y), colour, dots };
}
