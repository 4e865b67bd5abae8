// One run: its state, curves, samples, recipe, log, and a chat with its models.

import { Charts, duration, number } from "./charts.js";
import { ask, element, fact, money, post, table } from "./elements.js";

const KINDS = [
  { name: "loss", title: "loss", log: true },
  { name: "learning_rate", title: "learning rate" },
  { name: "tokens_per_second", title: "tokens/s" },
  { name: "memory_gb", title: "GB at most" },
];

export class RunPage {
  constructor(id) {
    this.id = id;
    this.head = element("div");
    this.charts = new Charts(KINDS);
    this.estimates = element("section");
    this.samples = element("section");
    this.chat = new Chat(id);
    this.text = element("section");
    this.log = element("section", {}, element("h2", {}, "Log"), element("pre", { className: "log", tabIndex: 0 }));
    this.element = element("div", {}, this.head, this.charts.element, this.estimates, this.samples, this.chat.element, this.text, this.log);
  }

  path() {
    return `/api/runs/${this.id}`;
  }

  trail(view) {
    return view.report.name;
  }

  show(view) {
    const report = view.report;
    this.header(view, report);
    this.charts.draw([{ label: "", curves: view.curves, colour: 0 }]);
    this.compared(report);
    this.answers(report.samples);
    this.chat.element.hidden = report.status !== "finished";
    this.recipe(view, report);
    const log = this.log.querySelector("pre");
    const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    log.textContent = view.log.join("\n") || "nothing yet";
    if (isAtEnd) log.scrollTop = log.scrollHeight;
    return view.under_way;
  }

  header(view, report) {
    const where = report.device ? ` on ${report.device}` : "";
    const tries = report.attempts > 1 ? `, ${report.attempts} attempts` : "";
    const status = element("strong", { className: report.status }, report.status + (view.stage && view.under_way ? `, ${view.stage}` : ""));
    const parts = [
      element("h1", {}, report.name),
      element("p", { className: "soft" }, `run ${report.run_id}, `, status, `${where}${tries}, ${report.model}`),
    ];
    if (view.under_way && report.total_steps) {
      parts.push(element("progress", { max: report.total_steps, value: report.step, ariaLabel: "steps" }));
    }
    parts.push(element("dl", { className: "facts" }, ...this.facts(view, report)), ...this.trouble(view, report));
    if (view.under_way) parts.push(this.stopButton());
    const focused = document.activeElement?.id;
    this.head.replaceChildren(...parts);
    if (focused === "stop") document.getElementById("stop")?.focus();
  }

  facts(view, report) {
    const evals = view.curves.evals.loss;
    const speed = [...view.curves.steps.tokens_per_second].filter((v) => v !== null).sort((a, b) => a - b);
    return [
      fact("steps", report.total_steps ? `${report.step.toLocaleString()} of ${report.total_steps.toLocaleString()}` : "–"),
      fact("time", duration(view.seconds)),
      fact("left, about", view.seconds_left === null ? null : duration(view.seconds_left)),
      fact("spent", Number(view.usd) ? money(view.usd) : null),
      fact("expected", Number(view.usd_expected) ? money(view.usd_expected) : null),
      fact("loss", report.loss_last === null ? null : `${number(report.loss_first)} → ${number(report.loss_last)}`),
      fact("eval loss", evals.length ? `${number(evals[0])} → ${number(evals.at(-1))}` : null),
      fact("speed, median", speed.length ? `${number(speed[speed.length >> 1])} tokens/s` : null),
      fact("memory, at most", report.memory_gb ? `${number(report.memory_gb)} GB` : null),
      fact("trained", report.trainable_parameters && `${report.trainable_parameters.toLocaleString()} parameters`),
      fact("rows", report.rows && report.rows.toLocaleString()),
      fact("checkpoints", report.checkpoints || null),
    ].filter(Boolean);
  }

  trouble(view, report) {
    const said = [];
    if (report.failure) {
      said.push(element("p", { className: "failed" }, `failed while ${report.failure.stage}: ${report.failure.message}`));
      if (report.failure.help) said.push(element("p", {}, `help: ${report.failure.help}`));
      if (report.failure.tail.length) said.push(element("pre", {}, report.failure.tail.join("\n")));
    }
    if (report.stop_reason) said.push(element("p", { className: "stopped" }, `stopped: ${report.stop_reason}`));
    if (view.why) said.push(element("p", { className: "lost" }, view.why));
    if (!view.under_way && report.status !== "finished") said.push(element("p", {}, "it goes on with ", element("code", {}, view.again)));
    for (const note of report.notes) said.push(element("p", { className: "soft" }, `note: ${note}`));
    return said;
  }

  stopButton() {
    const button = element("button", { className: "bad", id: "stop", type: "button" }, "stop with a checkpoint");
    const said = element("span", { role: "status" });
    button.addEventListener("click", async () => {
      if (!confirm("Stop this run at its next step? A checkpoint is kept, and `apply` goes on from there.")) return;
      said.textContent = (await post(`/api/runs/${this.id}/cancel`)).said;
    });
    return element("p", { className: "bar" }, button, said);
  }

  compared(report) {
    const names = { seconds: "time", seconds_per_step: "a steady step", first_steps_seconds: "first steps, more", memory_gb: "memory", usd: "money" };
    const form = { seconds: duration, first_steps_seconds: duration, seconds_per_step: (v) => `${number(v)} s`, memory_gb: (v) => `${number(v)} GB`, usd: money };
    const rows = report.estimates.map((one) => {
      const likely = one.likely ?? (one.low + one.high) / 2;
      const error = one.actual ? `${(100 * (likely / one.actual - 1)).toFixed(0)} %` : "";
      return [names[one.what], form[one.what](likely), form[one.what](one.actual), error];
    });
    const head = ["", "estimated", "was", "error"];
    this.estimates.replaceChildren(...(rows.length ? [element("h2", {}, "Estimate and fact"), table(head, rows)] : []));
  }

  answers(samples) {
    const parts = samples.map((one) =>
      element(
        "div",
        {},
        element("p", {}, element("span", { className: "soft" }, "prompt: "), element("strong", {}, one.prompt)),
        sides(one.before ?? "not asked", one.after ?? "not asked"),
      ),
    );
    this.samples.replaceChildren(...(parts.length ? [element("h2", {}, "Base and tuned"), ...parts] : []));
  }

  recipe(view, report) {
    if (this.text.childElementCount) return;
    const reasons = view.decisions.map((one) => [one.at, one.value, one.reason]);
    const versions = Object.entries(report.versions).map(([name, version]) => `${name} ${version}`);
    this.text.replaceChildren(
      element("h2", {}, "Recipe"),
      element("details", {}, element("summary", {}, "as written"), element("pre", {}, view.recipe)),
      element("details", {}, element("summary", {}, "what was decided, and why"), table(["key", "value", "reason"], reasons)),
      element("details", {}, element("summary", {}, "packages"), element("pre", {}, versions.join("\n"))),
      element("p", { className: "soft" }, "output: ", element("code", {}, report.output_dir)),
    );
  }
}

function sides(base, tuned) {
  const side = (name, text) => element("div", {}, element("span", { className: "soft" }, name), element("pre", {}, text));
  return element("div", { className: "sides" }, side("base", base), side("tuned", tuned));
}

// Questions to base and tuned model, each below what it has said itself before.
class Chat {
  constructor(id) {
    this.id = id;
    this.before = [];
    this.said = element("div", { ariaLive: "polite" });
    this.prompt = element("textarea", { id: "prompt", required: true });
    this.button = element("button", { type: "submit" }, "ask");
    this.state = element("span", { className: "soft", role: "status" });
    const again = element("button", { type: "button" }, "begin anew");
    again.addEventListener("click", () => {
      this.before = [];
      this.said.replaceChildren();
      this.prompt.focus();
    });
    const form = element("form", {}, element("label", { htmlFor: "prompt" }, "a prompt for both models"), this.prompt,
      element("p", { className: "bar" }, this.button, again, this.state));
    form.addEventListener("submit", (event) => (event.preventDefault(), this.send()));
    this.prompt.addEventListener("keydown", (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && form.requestSubmit());
    this.element = element("section", {}, element("h2", {}, "Chat"), this.said, form);
  }

  async send() {
    const prompt = this.prompt.value.trim();
    if (!prompt || this.button.disabled) return;
    this.button.disabled = true;
    this.state.textContent = this.before.length ? "asking …" : "loading the models, then asking …";
    const answer = await ask(`/api/runs/${this.id}/ask`, { prompt, before: this.before });
    this.button.disabled = false;
    this.state.textContent = answer.error ? `${answer.error}${answer.help ? `; ${answer.help}` : ""}` : "";
    if (answer.error) return;
    this.before.push(answer);
    this.said.append(element("p", {}, element("strong", {}, prompt)), sides(answer.base, answer.tuned));
    this.prompt.value = "";
    this.prompt.focus();
  }
}
