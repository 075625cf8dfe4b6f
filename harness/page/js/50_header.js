// Title, verdict, and how far a run that goes on has come.
(page => {
  "use strict";
  const {el, text} = page;

  const twoDigits = value => text.fixed(value, 2);

  const intervalOf = row => page.isNumber(row.speedup_lo)
    ? ` (${text.interval(row.speedup_lo, row.speedup_hi, twoDigits)})` : "";

  // One sentence about the best rival of a ranking's rows.
  function verdict(target, rows) {
    const rivals = rows.filter(row => row.kind === "rival" && !row.is_baseline);
    const best = rivals.find(row => row.reached > 0);
    const goal = `At ${target.text}: `;
    if (!rivals.length) return goal + "no method that competes has usable times.";
    if (!best) return goal + `no method meets it at any of ${text.plural(rivals[0].problems, "problem")}.`;
    const where = `, meeting it at ${best.reached} of ${text.plural(best.problems, "problem")}`;
    const figure = `${twoDigits(best.speedup)}\u00d7 dense${intervalOf(best)}`;
    if (best.speedup <= 1)
      return goal + `no method is faster than dense; nearest is ${best.method}, ${figure}${where}.`;
    const unsure = page.isNumber(best.speedup_lo) && best.speedup_lo <= 1;
    return goal + `${best.method} is fastest, ${figure}${where}` + (unsure ? "; its interval holds 1." : ".");
  }

  function verdicts(model, state) {
    const target = page.target(model, state);
    if (!target || !target.run.length) return ["No cell has usable times: nothing to rank."];
    return [...page.groupBy(target.run, row => row.setup)].map(([setup, rows]) =>
      (setup ? `${setup}. ` : "") + verdict(target, rows));
  }

  function facts(model) {
    const {data, rows, failures, settings} = model;
    const doubt = settings.filter(row => row.doubt).length;
    const range = model.lengths.length > 2 ? `${model.lengths[0]}..${model.lengths.at(-1)}` : model.lengths.join(", ");
    const count = rows.length < data.planned ? `${rows.length} of ${data.planned}` : `${rows.length}`;
    return [
      ["cells", failures.length ? `${count}, ${failures.length} not ok` : count],
      ["times in doubt", doubt ? String(doubt) : "none"],
      ["methods", String(model.methods.length)],
      ["problems", String(model.problems)],
      ["tokens", range || text.NONE],
      ["made", text.moment(data.made_utc)],
    ];
  }

  const SECTIONS = [["ranking", "Ranking"], ["pareto", "Accuracy and time"], ["heads", "Heads"],
    ["times", "Time shares"], ["failures", "Failures"], ["machine", "Machine and config"]];

  page.renderHeader = (model, state) => {
    const lines = verdicts(model, state), pairs = facts(model);
    page.fresh(page.part("header", "top"), [model.data.title, lines, pairs, model.failures.length], () => [
      el("p", {class: "brand"}, "SALEbench"),
      el("h1", {}, model.data.title),
      lines.map(line => el("p", {class: "verdict"}, line)),
      el("dl", {class: "facts"}, pairs.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
      el("nav", {"aria-label": "Sections"}, SECTIONS.map(([id, name]) => el("a", {href: `#${id}`},
        id === "failures" && model.failures.length ? `${name} (${model.failures.length})` : name))),
    ]);
  };

  // status: "running", "done" or "gone".
  page.renderProgress = (model, status) => {
    const done = model.rows.length, planned = Math.max(model.data.planned, done);
    const message = {
      running: `running: ${done} of ${text.plural(planned, "cell")}`,
      done: `finished: all ${text.plural(planned, "cell")}`,
      gone: `the server does not answer: as it stood at ${done} of ${text.plural(planned, "cell")}; still trying`,
    }[status];
    page.fresh(page.part("header", "progress"), [status, done, planned], () => el("div", {class: `progress ${status}`},
      el("span", {role: "status"}, message),
      el("progress", {max: planned || 1, value: done, "aria-label": "cells that have ended"})));
  };
})(window.salebench ??= {});
