// The list of runs, several beside each other, and the clock that asks anew.

import { Charts, duration, number } from "./charts.js";
import { element, money, request, table } from "./elements.js";
import { RunPage } from "./run.js";

const POLL = 2000;
const main = document.getElementById("main");
const trouble = document.getElementById("trouble");

class ListPage {
  constructor() {
    this.words = element("input", { type: "search", ariaLabel: "filter", placeholder: "name, status, model …" });
    this.compare = element("a", { className: "button", href: "#/" }, "compare");
    this.sum = element("span", { className: "soft" });
    this.list = element("div");
    this.chosen = new Set();
    this.words.addEventListener("input", () => this.draw());
    this.element = element("div", {}, element("h1", {}, "Runs"), element("p", { className: "bar" }, this.words, this.compare, this.sum), this.list);
  }

  path() {
    return "/api/runs";
  }

  trail() {
    return "";
  }

  show(found) {
    this.found = found;
    document.getElementById("home").textContent = found.home;
    this.draw();
    return true;
  }

  draw() {
    const words = this.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = (run) => words.every((word) => `${run.id} ${run.name} ${run.status} ${run.model} ${run.executor}`.toLowerCase().includes(word));
    const runs = this.found.runs.filter(matches);
    const active = runs.filter((run) => ["running", "starting"].includes(run.status));
    const spent = runs.reduce((sum, run) => sum + Number(run.spent_usd), 0);
    this.sum.textContent = `${runs.length} runs, ${active.length} under way` + (spent ? `, ${money(spent)} spent` : "");
    this.compare.hidden = this.chosen.size < 2;
    this.compare.href = `#/compare/${[...this.chosen].join(",")}`;
    const rows = [...active, ...runs.filter((run) => !active.includes(run))].slice(0, 500).map((run) => this.row(run));
    const empty = element("p", { className: "soft" }, this.found.runs.length ? "none of them is like that" : "no runs yet; `sftrun apply RECIPE` makes the first");
    const focused = document.activeElement?.dataset?.run;
    const head = ["", "run", "status", "step", "loss", "left", "spent", "model", "begun"];
    this.list.replaceChildren(rows.length ? table(head, rows, [3, 4, 5, 6]) : empty);
    if (focused) this.list.querySelector(`input[data-run="${focused}"]`)?.focus();
  }

  row(run) {
    const box = element("input", { type: "checkbox", checked: this.chosen.has(run.id), ariaLabel: `compare ${run.name} ${run.id}` });
    box.dataset.run = run.id;
    box.addEventListener("change", () => {
      this.chosen[box.checked ? "add" : "delete"](run.id);
      this.draw();
    });
    const name = run.status === "damaged" ? run.id : element("span", {}, element("a", { href: `#/run/${run.id}` }, run.name), element("span", { className: "soft" }, ` ${run.id.slice(0, 4)}`));
    const begun = run.created ? new Date(run.created * 1000).toLocaleString([], { dateStyle: "short", timeStyle: "short" }) : "";
    const step = run.total_steps ? `${run.step} of ${run.total_steps}` : "";
    const status = element("span", { className: run.status, title: run.problem }, run.status + (run.problem ? `: ${run.problem}` : ""));
    const left = run.seconds_left ? duration(run.seconds_left) : "";
    return [box, name, status, step, run.loss === null ? "" : number(run.loss), left, Number(run.spent_usd) ? money(run.spent_usd) : "", run.model, begun];
  }
}

const COMPARED = [
  { name: "loss", title: "loss", log: true },
  { name: "tokens_per_second", title: "tokens/s" },
];

class ComparePage {
  constructor(ids) {
    this.ids = ids;
    this.charts = new Charts(COMPARED);
    this.figures = element("section");
    this.differences = element("section");
    this.element = element("div", {}, element("h1", {}, "Runs beside each other"), this.figures, this.charts.element, this.differences);
  }

  path() {
    return `/api/compare?runs=${this.ids.join(",")}`;
  }

  trail() {
    return "compare";
  }

  show(found) {
    const labels = found.runs.map((view) => `${view.report.name} ${view.report.run_id.slice(0, 4)}`);
    this.charts.draw(found.runs.map((view, i) => ({ label: labels[i], curves: view.curves, colour: i })));
    const rows = found.runs.map((view, i) => [
      element("a", { href: `#/run/${view.report.run_id}` }, labels[i]),
      element("span", { className: view.report.status }, view.report.status),
      `${view.report.step} of ${view.report.total_steps ?? "?"}`,
      number(view.report.loss_last),
      number(view.curves.evals.loss.at(-1)),
      duration(view.seconds),
      Number(view.usd) ? money(view.usd) : "",
    ]);
    this.figures.replaceChildren(table(["run", "status", "step", "loss", "eval loss", "time", "spent"], rows, [2, 3, 4, 5, 6]));
    const told = found.differences.map((one) => [one.key, ...one.values]);
    const same = element("p", { className: "soft" }, "their recipes are resolved alike");
    this.differences.replaceChildren(element("h2", {}, "What tells their recipes apart"), told.length ? table(["key", ...labels], told) : same);
    return found.runs.some((view) => view.under_way);
  }
}

function pageOf(address) {
  const [, kind, name] = address.split("/");
  if (kind === "run") return new RunPage(name);
  return kind === "compare" ? new ComparePage(name.split(",")) : new ListPage();
}

let page, timer;

async function refresh() {
  const mine = page;
  let again = true;
  try {
    const found = await request(mine.path());
    if (mine !== page) return;
    trouble.hidden = !found.error;
    trouble.textContent = found.error ? `${found.error}${found.help ? `; ${found.help}` : ""}` : "";
    if (!found.error) {
      again = mine.show(found);
      const name = mine.trail(found);
      document.getElementById("trail").textContent = name ? `/ ${name}` : "";
      document.title = name ? `${name} · sftrun` : "sftrun";
    }
  } catch (error) {
    if (mine !== page) return;
    trouble.hidden = false;
    trouble.textContent = error instanceof TypeError ? "`sftrun ui` does not answer; start it again" : `${error}`;
  }
  clearTimeout(timer);
  timer = setTimeout(refresh, again ? POLL : 5 * POLL);
}

function go() {
  page = pageOf(location.hash || "#/");
  main.replaceChildren(page.element);
  refresh();
}

addEventListener("hashchange", () => (go(), main.focus()));
go();
